import json

import pytest

from portcullis.core.errors import Problem
from portcullis.core.inspection import InjectionVerdict, Source
from portcullis.inspection.injection import linear
from portcullis.inspection.injection.thresholds import Threshold

LIMIT = {"head": "data", "suspect": 2.0, "injection": 4.0}


def document(**changes: object) -> bytes:
    limits = dict.fromkeys(Source, LIMIT)
    whole = {"floor": 0.5, "intents": {"data": {}}, "biases": {"data": -3.0}, "thresholds": limits}
    return json.dumps(whole | changes).encode()


def test_the_shipped_model_is_sound_and_system_text_counts_as_a_users() -> None:
    model = linear.builtin()
    assert model.thresholds[Source.SYSTEM] == model.thresholds[Source.USER]
    assert set(linear.heads(model)) == {"data", "user"}


def test_a_table_is_read_in_hundredths() -> None:
    assert linear.weights("-150\tthe\n7\t~SEND ~DATA\n") == {"the": -1.5, "~SEND ~DATA": 0.07}


def test_half_is_suspect_and_nine_tenths_an_injection() -> None:
    limit = Threshold(**LIMIT)
    sums = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 9.0, 99.0]
    scores = [limit.score(total, 0.5) for total in sums]
    assert scores == sorted(scores)
    assert scores[:2] == [0, 0]
    assert scores[3] == 0.5
    assert scores[5] == pytest.approx(0.9)
    assert scores[-1] <= 1
    assert limit.verdict(1.9) is InjectionVerdict.CLEAN
    assert limit.verdict(2.0) is InjectionVerdict.SUSPECT
    assert limit.verdict(4.0) is InjectionVerdict.INJECTION


@pytest.mark.parametrize(
    "changes",
    [
        {"intents": {"data": {"go": -1}}},
        {"intents": {}},
        {"floor": 2.0},
        {"thresholds": {"user": LIMIT}},
        {"thresholds": {source: {**LIMIT, "injection": 1.5} for source in Source}},
        {"thresholds": {source: {**LIMIT, "head": "other"} for source in Source}},
        {"more": 1},
    ],
)
def test_a_model_that_breaks_its_promises_is_not_loaded(changes: dict[str, object]) -> None:
    assert linear.parse(document())
    with pytest.raises(Problem, match="PC7014"):
        linear.parse(document(**changes))
