"""If these fail, clients do not know when to come back, or learn what others use."""

import pytest

from portcullis.core.errors import Problem
from portcullis.core.limit_told import Exceeded, Measure, Quota
from portcullis.wire.ratelimit import ours, refused, standing

AT = 1_800_000_000.0


def quota(measure, left=5, ceiling=10, window=60.0, seconds=59, name="house"):
    return Quota(
        name=name, measure=measure, ceiling=ceiling, left=left,
        window=window, resets_at=AT, seconds=seconds,
    )  # fmt: skip


def shown(headers):
    return {name.decode(): value.decode() for name, value in headers}


def test_what_the_drafts_headers_say():
    told = shown(
        standing(
            [
                quota(Measure.REQUESTS),
                quota(Measure.COST, left=None, ceiling=20_000_000, window=86400.0),
                quota(Measure.CONCURRENCY, window=0.0, left=3, seconds=1),
            ]
        )
    )
    assert told == {
        "ratelimit-policy": (
            '"house:requests:60";q=10;w=60, "house:cost:86400";q=20000000;w=86400;qu="micro-usd", '
            '"house:concurrency:0";q=10;qu="concurrent-requests"'
        ),
        "ratelimit": '"house:requests:60";r=5;t=59, "house:concurrency:0";r=3;t=1',
    }
    assert standing([]) == []


@pytest.mark.parametrize(
    ("seconds", "said"), [(59, "59s"), (360, "6m0s"), (7205, "2h0m5s")], ids=["s", "m", "h"]
)
def test_what_openais_clients_know(seconds, said):
    told = shown(
        standing(
            [
                quota(Measure.REQUESTS, left=9),
                quota(Measure.TOKENS, left=300, seconds=seconds),
                quota(Measure.OUTPUT, left=400),
                quota(Measure.INPUT, left=None),
            ],
            "openai",
        )
    )
    assert told["x-ratelimit-remaining-requests"] == "9"
    assert told["x-ratelimit-remaining-tokens"] == "300", "the one of which least is left"
    assert told["x-ratelimit-reset-tokens"] == said
    assert not any(name.startswith("anthropic") for name in told)


def test_what_anthropics_clients_know():
    told = shown(standing([quota(Measure.INPUT), quota(Measure.COST)], "anthropic"))
    assert told["anthropic-ratelimit-input-tokens-limit"] == "10"
    assert told["anthropic-ratelimit-input-tokens-reset"] == "2027-01-15T08:00:00Z"
    assert not any("output" in name or "x-ratelimit" in name for name in told)


def test_a_refusal_says_when_and_which():
    problem = Problem("PC3070", "limit house: ...")
    assert refused(problem) == []
    problem.retry_after = 7
    problem.over = Exceeded(
        limit="house", measure=Measure.REQUESTS, resets_at=AT, quotas=(quota(Measure.REQUESTS, 0),)
    )
    told = shown(refused(problem, "openai"))
    assert told["retry-after"] == "7"
    assert told["ratelimit"] == '"house:requests:60";r=0;t=59'
    assert told["x-ratelimit-remaining-requests"] == "0"
    assert problem.document()["limit"] == "house"


def test_ours_stand_for_an_upstreams_of_the_same_name():
    theirs = [(b"x-ratelimit-limit-requests", b"1"), (b"retry-after", b"3")]
    own = [(b"x-ratelimit-limit-requests", b"9")]
    assert ours(own, theirs) == [(b"retry-after", b"3"), *own]
