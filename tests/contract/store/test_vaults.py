"""What a vault owes: one value, one placeholder; nobody else's; bounded; gone when unused."""

import asyncio
import itertools

import pytest

from needs import needs_redis
from portcullis.core.errors import Problem
from portcullis.store import vaults as module
from portcullis.store.vaults import LocalVaults
from portcullis.store.vaults_redis import RedisVaults
from portcullis.store.vaults_shared import SharedVaults
from redis_servers import own_server


class Clock:
    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    monotonic = now


@pytest.fixture
def clock():
    return Clock()


BOUNDED = ["local", "shared"]
"""These forget vaults for want of room; where that is a server's, it refuses."""


@pytest.fixture(params=[*BOUNDED, pytest.param("redis", marks=needs_redis)])
def adapter(request, tmp_path):
    if request.param == "local":
        yield LocalVaults
        return
    if request.param == "redis":
        with own_server() as server:
            yield lambda clock, **limits: RedisVaults(server, bytes(32), clock, **limits)
        return
    opened, numbers = [], itertools.count()

    def shared(clock, **limits):
        path = tmp_path / f"{next(numbers)}.db"
        opened.append(SharedVaults(path, bytes(32), clock, **limits))
        return opened[-1]

    yield shared
    for one in opened:
        one.close()
    assert not list(tmp_path.glob("*.db*[!s]")), "nothing is left of it"


def look(vaults, *session):
    """A vault as a check has it: what others have hidden is known."""
    asyncio.run(vaults.refresh(*session))
    return vaults.vault(*session)


def test_a_value_has_one_placeholder_and_entities_count_for_themselves(adapter, clock):
    vault = look(adapter(clock), "s1")
    hidden = [vault.hide(*pair) for pair in [("A", "x"), ("A", "y"), ("B", "x"), ("A", "x")]]
    assert hidden == ["<A_1>", "<A_2>", "<B_1>", "<A_1>"]
    assert [vault.reveal(name) for name in ("<A_1>", "<A_2>", "<B_1>")] == ["x", "y", "x"]
    assert vault.reveal("<A_3>") is None


def test_a_vault_is_nobody_elses_and_stays_the_same(adapter, clock):
    vaults = adapter(clock)
    look(vaults, "s1").hide("A", "x")
    assert look(vaults, "s2").reveal("<A_1>") is None
    assert look(vaults, "s1").reveal("<A_1>") == "x"


@pytest.mark.parametrize("adapter", BOUNDED, indirect=True)
def test_no_number_is_given_twice_in_a_session_however_often_its_vault_goes(adapter, clock):
    clock.time, given = 100.0, set()
    vaults, session = adapter(clock, idle_seconds=10, vaults=1), ("s1", 100.0)
    for life in range(8):
        clock.time += 0.01
        vault = look(vaults, *session)
        assert all(vault.reveal(old) is None for old in given)
        new = {vault.hide("A", f"{life}:{n}") for n in range(500)}
        assert not given & new
        given |= new
        if life % 3 == 0:  # a restart
            vaults = adapter(clock, idle_seconds=10, vaults=1)
        elif life % 3 == 1:
            clock.time += 10
        else:
            look(vaults, "s2", clock.time).hide("A", "x")
    assert "<A_1>" in given
    assert look(vaults, "s3", clock.time).hide("A", "x") == "<A_1>"


def test_a_vault_that_nobody_used_for_long_is_gone(adapter, clock):
    vaults = adapter(clock, idle_seconds=10)
    look(vaults, "s1").hide("A", "x")
    look(vaults, "s2").hide("A", "x")
    clock.time = 9
    look(vaults, "s2")
    clock.time = 10
    assert look(vaults, "s1").reveal("<A_1>") is None
    assert look(vaults, "s2").reveal("<A_1>") == "x"


def test_a_vault_holds_so_much_and_no_more(adapter, clock, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES", 2)
    monkeypatch.setattr(module, "VAULT_BYTES", 100)
    full, heavy = look(adapter(clock), "s1"), look(adapter(clock), "s2")
    full.hide("A", "x")
    full.hide("A", "y")
    assert full.hide("A", "x") == "<A_1>"
    for vault, value in ((full, "z"), (heavy, "\u20ac" * 34)):
        with pytest.raises(Problem) as raised:
            vault.hide("A", value)
        assert raised.value.code == "PC3025"


@pytest.mark.parametrize("adapter", BOUNDED, indirect=True)
def test_when_there_are_too_many_or_too_heavy_the_one_used_longest_ago_goes(adapter, clock):
    for limits in ({"vaults": 2}, {"size": 25}):
        vaults = adapter(clock, **limits)
        for key in ("s1", "s2", "s1", "s3"):
            clock.time += 100
            look(vaults, key).hide("A", "x" * 10)
        assert look(vaults, "s1").reveal("<A_1>") == "x" * 10
        assert look(vaults, "s2").reveal("<A_1>") is None


def test_the_vault_of_a_session_that_has_ended_is_gone_at_once(adapter, clock):
    vaults = adapter(clock)
    for key in ("open", "ended"):
        look(vaults, key).hide("A", "x")
    vaults.end({"open"}.__contains__)
    assert look(vaults, "open").reveal("<A_1>") == "x"
    assert look(vaults, "ended").reveal("<A_1>") is None
