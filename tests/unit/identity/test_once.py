"""If these fail, a proof is good twice, or a flood of proofs lets replays in."""

import time

import pytest

from portcullis.identity.once import LocalOnce


class TurnableClock:
    def __init__(self):
        self.time = 1000.75

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


@pytest.fixture
def clock():
    return TurnableClock()


def test_a_key_is_good_once_until_its_time_is_over(clock):
    once = LocalOnce(clock)
    assert once.spend(b"a", 1060)
    assert not once.spend(b"a", 1060)
    assert once.spend(b"b", 1060)
    clock.time = 1059.9
    assert not once.spend(b"a", 1060)


def test_what_is_over_already_is_never_good(clock):
    assert not LocalOnce(clock).spend(b"a", 1000)


def test_a_full_memory_lets_nobody_in_and_forgets_nothing(clock):
    once = LocalOnce(clock, capacity=3)
    assert [once.spend(bytes([n]), 1060) for n in range(5)] == [True, True, True, False, False]
    assert not once.spend(b"\0", 1060)
    clock.time = 1060
    assert once.spend(b"new", 1120)
    assert len(once._seen) == len(once._ends) == 1


def test_one_who_floods_the_memory_does_not_lock_out_the_others(clock):
    once = LocalOnce(clock, capacity=64)
    flood = [once.spend(bytes([n]), 1060, "agent:loud") for n in range(64)]
    assert (sum(flood), all(flood[:4])) == (4, True)
    assert once.spend(b"theirs", 1060, "agent:quiet")
    assert once.spend(b"a proof", 1060)
    clock.time = 1060
    assert once.spend(b"again", 1120, "agent:loud")
    assert dict(once._held) == {"agent:loud": 1}


def test_no_call_waits_while_many_are_forgotten(clock):
    once = LocalOnce(clock)
    for n in range(20_000):
        once.spend(n.to_bytes(4), 1001)
    clock.time = 1002
    started = time.thread_time()
    assert once.spend(b"one", 1060)
    assert time.thread_time() - started < 0.005
    assert len(once._seen) == 20_000 - 8 + 1


def test_it_says_since_when_it_remembers(clock):
    once = LocalOnce(clock)
    clock.time = 2000
    assert once.since == 1000.0
