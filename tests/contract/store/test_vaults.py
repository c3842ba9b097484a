"""What a vault owes: one value, one placeholder; nobody else's; bounded; gone when unused."""

import itertools

import pytest

from portcullis.core.errors import Problem
from portcullis.store import vaults as module
from portcullis.store.vaults import LocalVaults
from portcullis.store.vaults_shared import SharedVaults


class Clock:
    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    monotonic = now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["local", "shared"])
def adapter(request, tmp_path):
    if request.param == "local":
        yield LocalVaults
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


def test_a_value_has_one_placeholder_and_entities_count_for_themselves(adapter, clock):
    vault = adapter(clock).vault("s1")
    hidden = [vault.hide(*pair) for pair in [("A", "x"), ("A", "y"), ("B", "x"), ("A", "x")]]
    assert hidden == ["<A_1>", "<A_2>", "<B_1>", "<A_1>"]
    assert [vault.reveal(name) for name in ("<A_1>", "<A_2>", "<B_1>")] == ["x", "y", "x"]
    assert vault.reveal("<A_3>") is None


def test_a_vault_is_nobody_elses_and_stays_the_same(adapter, clock):
    vaults = adapter(clock)
    vaults.vault("s1").hide("A", "x")
    assert vaults.vault("s2").reveal("<A_1>") is None
    assert vaults.vault("s1").reveal("<A_1>") == "x"


def test_no_number_is_given_twice_in_a_session_however_often_its_vault_goes(adapter, clock):
    clock.time, given = 100.0, set()
    vaults, session = adapter(clock, idle_seconds=10, vaults=1), ("s1", 100.0)
    for life in range(8):
        clock.time += 0.01
        vault = vaults.vault(*session)
        assert all(vault.reveal(old) is None for old in given)
        new = {vault.hide("A", f"{life}:{n}") for n in range(500)}
        assert not given & new
        given |= new
        if life % 3 == 0:  # a restart
            vaults = adapter(clock, idle_seconds=10, vaults=1)
        elif life % 3 == 1:
            clock.time += 10
        else:
            vaults.vault("s2", clock.time).hide("A", "x")
    assert "<A_1>" in given
    assert vaults.vault("s3", clock.time).hide("A", "x") == "<A_1>"


def test_a_vault_that_nobody_used_for_long_is_gone(adapter, clock):
    vaults = adapter(clock, idle_seconds=10)
    vaults.vault("s1").hide("A", "x")
    vaults.vault("s2").hide("A", "x")
    clock.time = 9
    vaults.vault("s2")
    clock.time = 10
    assert vaults.vault("s1").reveal("<A_1>") is None
    assert vaults.vault("s2").reveal("<A_1>") == "x"


def test_a_vault_holds_so_much_and_no_more(adapter, clock, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES", 2)
    monkeypatch.setattr(module, "VAULT_BYTES", 100)
    full, heavy = adapter(clock).vault("s1"), adapter(clock).vault("s2")
    full.hide("A", "x")
    full.hide("A", "y")
    assert full.hide("A", "x") == "<A_1>"
    for vault, value in ((full, "z"), (heavy, "\u20ac" * 34)):
        with pytest.raises(Problem) as raised:
            vault.hide("A", value)
        assert raised.value.code == "PC3025"


def test_when_there_are_too_many_or_too_heavy_the_one_used_longest_ago_goes(adapter, clock):
    for limits in ({"vaults": 2}, {"size": 25}):
        vaults = adapter(clock, **limits)
        for key in ("s1", "s2", "s1", "s3"):
            clock.time += 100
            vaults.vault(key).hide("A", "x" * 10)
        assert vaults.vault("s1").reveal("<A_1>") == "x" * 10
        assert vaults.vault("s2").reveal("<A_1>") is None


def test_the_vault_of_a_session_that_has_ended_is_gone_at_once(adapter, clock):
    vaults = adapter(clock)
    for key in ("open", "ended"):
        vaults.vault(key).hide("A", "x")
    vaults.end({"open"}.__contains__)
    assert vaults.vault("open").reveal("<A_1>") == "x"
    assert vaults.vault("ended").reveal("<A_1>") is None
