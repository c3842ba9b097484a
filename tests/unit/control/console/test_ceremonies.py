"""Challenges: once, for a short time, for who asked."""

import pytest

from portcullis.control.console import ceremonies
from portcullis.control.console.ceremonies import Ceremonies
from portcullis.core.errors import Problem


class Clock:
    time = 1000.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def begun(clock):
    return Ceremonies(clock)


def refused(begun, holder, name):
    with pytest.raises(Problem) as problem:
        begun.end(holder, name)
    return problem.value.code == "PC2083"


def test_a_challenge_is_good_once(begun):
    name = begun.begin("login", {"challenge": "x"})
    assert begun.end("login", name) == {"challenge": "x"}
    assert refused(begun, "login", name)


def test_a_challenge_is_nobody_elses(begun):
    name = begun.begin("login", {"challenge": "x"})
    assert refused(begun, "another", name)
    assert refused(begun, "login", name)


def test_a_challenge_ends(begun, clock):
    name = begun.begin("", {"challenge": "x"})
    clock.time += ceremonies.SECONDS
    assert refused(begun, "", name)


def test_a_flood_of_challenges_takes_no_more_room(begun):
    first = begun.begin("", {"challenge": "x"})
    names = [begun.begin("", {"challenge": n}) for n in range(ceremonies.CAPACITY)]
    assert refused(begun, "", first)
    assert begun.end("", names[-1]) == {"challenge": ceremonies.CAPACITY - 1}
