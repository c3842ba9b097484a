import json

import pytest

from portcullis.core.errors import Problem
from portcullis.core.inspection import InjectionVerdict, Source
from portcullis.inspection.injection import linear
from portcullis.inspection.injection.thresholds import Threshold

LIMIT = {"together": 1.0, "suspect": 2.0, "injection": 4.0}


def document(**changes: object) -> bytes:
    limits = dict.fromkeys(Source, LIMIT)
    return json.dumps(
        {"floor": 0.5, "intents": {}, "phrases": {}, "thresholds": limits} | changes
    ).encode()


def test_the_shipped_model_is_sound_and_system_text_counts_as_a_users() -> None:
    model = linear.builtin()
    assert model.thresholds[Source.SYSTEM] == model.thresholds[Source.USER]
    assert all(1 <= len(phrase.split()) <= 3 for phrase in model.phrases)


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
        {"phrases": {"go": -1}},
        {"floor": 2.0},
        {"thresholds": {"user": LIMIT}},
        {"thresholds": {source: {**LIMIT, "injection": 1.5} for source in Source}},
        {"thresholds": {source: {**LIMIT, "together": 2.5} for source in Source}},
        {"more": 1},
    ],
)
def test_a_model_that_breaks_its_promises_is_not_loaded(changes: dict[str, object]) -> None:
    assert linear.parse(document())
    with pytest.raises(Problem, match="PC7014"):
        linear.parse(document(**changes))
