import dataclasses

import pytest

from portcullis.control import throttle
from portcullis.control.throttle import Throttle


@dataclasses.dataclass
class Clock:
    time: float = 100.0

    def now(self):
        return self.time

    monotonic = now


@pytest.fixture
def clock():
    return Clock()


def test_the_delay_grows_to_its_bound(clock):
    locked = Throttle(clock, free=2, longest=10)
    assert [locked.failed("ada")[1] - clock.time for _ in range(8)] == [0, 0, 1, 2, 4, 8, 10, 10]
    assert locked.wait("ada") == 10
    clock.time += 9.5
    assert locked.wait("ada") == 0.5
    clock.time += 1
    assert locked.wait("ada") == 0
    assert locked.wait("bob") == 0


def test_who_succeeds_begins_anew(clock):
    locked = Throttle(clock, free=0, longest=10)
    locked.failed("ada")
    locked.clear("ada")
    assert locked.wait("ada") == 0
    assert locked.failed("ada") == (1, 101.0)


def test_failures_from_before_a_restart_count(clock):
    locked = Throttle(clock, free=3, longest=900)
    assert locked.failed("ada", 9) == (10, 100.0 + 64)


def test_a_thousand_failures_overflow_nothing(clock):
    locked = Throttle(clock, free=0, longest=900)
    assert locked.failed("ada", 100_000) == (100_001, 1000.0)


def test_memory_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(throttle, "CAPACITY", 2)
    locked = Throttle(clock, free=0, longest=900)
    for name in ("a", "b", "c"):
        locked.failed(name)
    assert [locked.wait(name) > 0 for name in ("a", "b", "c")] == [False, True, True]


def test_a_lock_made_by_a_clock_that_was_wrong_does_not_outlive_its_correction(clock):
    locked = Throttle(clock, free=0, longest=900)
    clock.time += 365 * 86_400
    locked.failed("ada")
    assert locked.wait("ada") == 1
    clock.time -= 365 * 86_400
    assert locked.wait("ada") == 0
