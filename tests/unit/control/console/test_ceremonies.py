"""Challenges: once, for a short time, for who asked."""

import secrets

import pytest

from portcullis.control.console import ceremonies
from portcullis.control.console.ceremonies import Ceremonies
from portcullis.core.errors import Problem
from portcullis.identity.once import LocalOnce


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
    return Ceremonies(secrets.token_bytes(32), clock, LocalOnce(clock))


def refused(work, holder, name):
    with pytest.raises(Problem) as problem:
        work(holder, name)
    return problem.value.code == "PC2083"


def test_a_challenge_is_good_once(begun):
    name = begun.begin("login", {"challenge": "x"})
    assert begun.end("login", name) == {"challenge": "x"}
    begun.spend("login", name)
    assert refused(begun.spend, "login", name)


def test_a_challenge_is_nobody_elses(begun):
    name = begun.begin("login", {"challenge": "x"})
    assert refused(begun.end, "another", name)
    assert refused(begun.spend, "another", name)


@pytest.mark.parametrize("name", ["", ".", "a.b", "\u00e9.\u00e9", "x" * 5000])
def test_nobody_makes_a_challenge_up(begun, name):
    assert refused(begun.end, "", name)


def test_a_challenge_ends(begun, clock):
    name = begun.begin("", {"challenge": "x"})
    clock.time += ceremonies.SECONDS
    assert refused(begun.end, "", name)


def test_what_may_have_been_spent_before_a_restart_is_good_no_more(clock):
    key = secrets.token_bytes(32)
    name = Ceremonies(key, clock, LocalOnce(clock)).begin("", {"challenge": "x"})
    clock.time += 2
    assert refused(Ceremonies(key, clock, LocalOnce(clock)).end, "", name)
