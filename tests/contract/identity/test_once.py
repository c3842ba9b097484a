"""What a memory of things used once owes: a proof is good once, and a flood lets no replay in."""

import asyncio
import itertools

import pytest

from needs import needs_redis
from portcullis.identity.once import LocalOnce
from portcullis.store.once import SharedOnce
from portcullis.store.once_redis import RedisOnce
from redis_servers import own_server


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


@pytest.fixture(params=["local", "shared", pytest.param("redis", marks=needs_redis)])
def adapter(request, tmp_path):
    if request.param == "local":
        yield LocalOnce
        return
    if request.param == "redis":
        with own_server() as server:
            yield lambda clock, **more: RedisOnce(server, clock, **more)
        return
    opened, numbers = [], itertools.count()

    def shared(clock, **more):
        opened.append(SharedOnce(tmp_path / f"{next(numbers)}.db", clock, **more))
        return opened[-1]

    yield shared
    for one in opened:
        one.close()
    assert not list(tmp_path.glob("*.db*[!s]")), "nothing is left of it"


def test_a_key_is_good_once_until_its_time_is_over(adapter, clock):
    once = adapter(clock)
    assert once.spend(b"a", 1060)
    assert not once.spend(b"a", 1060)
    assert once.spend(b"b", 1060)
    clock.time = 1059.9
    assert not once.spend(b"a", 1060)


def test_who_can_wait_is_told_the_same(adapter, clock):
    once = adapter(clock)
    assert asyncio.run(once.spent(b"a", 1060))
    assert not asyncio.run(once.spent(b"a", 1060))
    assert not once.spend(b"a", 1060)
    assert not asyncio.run(once.spent(b"b", 1000))


def test_what_is_over_already_is_never_good(adapter, clock):
    assert not adapter(clock).spend(b"a", 1000)


def test_a_full_memory_lets_nobody_in_and_forgets_nothing(adapter, clock):
    once = adapter(clock, capacity=3)
    assert [once.spend(bytes([n]), 1060) for n in range(5)] == [True, True, True, False, False]
    assert not once.spend(b"\0", 1060)
    clock.time = 1060
    assert [once.spend(bytes([9, n]), 1120) for n in range(4)] == [True, True, True, False]


def test_one_who_floods_the_memory_does_not_lock_out_the_others(adapter, clock):
    once = adapter(clock, capacity=64)
    flood = [once.spend(bytes([n]), 1060, "agent:loud") for n in range(64)]
    assert (sum(flood), all(flood[:4])) == (4, True)
    assert once.spend(b"theirs", 1060, "agent:quiet")
    assert once.spend(b"a proof", 1060)
    clock.time = 1060
    assert [once.spend(bytes([9, n]), 1120, "agent:loud") for n in range(5)].count(True) == 4


def test_it_says_since_when_it_remembers(adapter, clock):
    once = adapter(clock)
    clock.time = 2000
    assert once.since == 1000.0
