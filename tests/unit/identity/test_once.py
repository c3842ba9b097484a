"""If these fail, remembering proofs holds the gate up. See the contract for what it owes."""

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


def test_what_has_expired_takes_no_room(clock):
    once = LocalOnce(clock, capacity=3)
    for n in range(3):
        once.spend(bytes([n]), 1060, "agent:loud")
    clock.time = 1060
    assert once.spend(b"new", 1120)
    assert len(once._seen) == len(once._ends) == 1
    assert not once._held


def test_no_call_waits_while_many_are_forgotten(clock):
    once = LocalOnce(clock)
    for n in range(20_000):
        once.spend(n.to_bytes(4), 1001)
    clock.time = 1002
    started = time.thread_time()
    assert once.spend(b"one", 1060)
    assert time.thread_time() - started < 0.005
    assert len(once._seen) == 20_000 - 8 + 1
