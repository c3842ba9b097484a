"""If these fail, a server that dies is started over and over, or never again."""

import pytest

from portcullis.core.errors import Problem
from portcullis.execution.mcp.backoff import FIRST_SECONDS, MOST_SECONDS, WELL_SECONDS, Backoff

ONE, OTHER = ("files", "agent", "one"), ("files", "agent", "other")


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def backoff(now):
    return Backoff(lambda: now[0])


def rests(backoff, whose=ONE):
    try:
        backoff.may_start(whose)
    except Problem as problem:
        return problem.code == "PC5041"
    return False


def test_the_first_end_is_forgiven_and_each_further_one_waits_twice_as_long(backoff, now):
    assert not rests(backoff)
    backoff.ended(ONE, 1)
    assert not rests(backoff)
    for wait in (FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS):
        backoff.ended(ONE, 1)
        assert rests(backoff)
        assert not rests(backoff, OTHER)
        now[0] += wait - 0.01
        assert rests(backoff)
        now[0] += 0.02
        assert not rests(backoff)


def test_it_never_rests_longer_than_the_most_and_one_that_ran_well_begins_anew(backoff, now):
    for _ in range(100):
        backoff.ended(ONE, 1)
    now[0] += MOST_SECONDS - 0.1
    assert rests(backoff)
    now[0] += 0.2
    assert not rests(backoff)
    backoff.ended(ONE, WELL_SECONDS)
    assert not rests(backoff)


def test_what_is_remembered_is_bounded(backoff):
    for number in range(5000):
        backoff.ended(("files", "agent", str(number)), 1)
    assert len(backoff._ends) <= 4096
