"""If these fail, two gateways of one machine disagree: a proof is good twice, a placeholder is
given twice or unknown, a process is doubled, what was said is lost. Two processes are real where
that matters."""

import asyncio
import secrets
import sqlite3
import time

import pytest

from databases import new_database
from portcullis.core.approval import Step
from portcullis.core.errors import Problem
from portcullis.core.principal import Session
from portcullis.store import volatile
from portcullis.store.claims import SharedClaims
from portcullis.store.engine import open_sqlite
from portcullis.store.once import SharedOnce
from portcullis.store.recent import SharedRecent
from portcullis.store.sessions import SharedSessionState
from portcullis.store.vaults_shared import SharedVaults
from sealers import sealer_at
from shared_processes import KEY, Clock, hide_all, in_processes, spend_all


class Turned:
    """A clock that a test turns."""

    def __init__(self, at=1000.0):
        self.time = at

    def now(self):
        return self.time

    monotonic = now


# Processes


def test_of_two_processes_at_once_each_proof_is_good_in_one(tmp_path):
    keys, path = [secrets.token_bytes(32) for _ in range(400)], tmp_path / "once.db"
    mine = SharedOnce(path, Clock())
    given = in_processes(spend_all, (path, keys), (path, keys[::-1]))
    assert sum(spent for spent, _ in given) == len(keys)
    assert {since for _, since in given} == {mine.since}, "one that starts has forgotten nothing"
    assert not any(mine.spend(key, time.time() + 60) for key in keys)


def test_two_processes_at_once_give_no_number_twice_and_know_each_others_values(tmp_path):
    path, both = tmp_path / "vaults.db", [f"v{number}" for number in range(100)]
    mine = SharedVaults(path, KEY, Clock())
    one, two = in_processes(
        hide_all,
        (path, both + [f"a{n}" for n in range(100)]),
        (path, both + [f"b{n}" for n in range(100)]),
    )
    assert {one[value] for value in both} == {two[value] for value in both}
    assert len({*one.values(), *two.values()}) == 300
    vault = mine.vault("s1", 0.0)
    assert all(vault.reveal(placeholder) == value for value, placeholder in (one | two).items())


# Since when


def test_after_the_last_process_nothing_is_left_and_the_memory_begins_anew(tmp_path):
    clock, path = Turned(), tmp_path / "once.db"
    first = SharedOnce(path, clock)
    first.spend(b"a", 1060)
    second = SharedOnce(path, clock)
    first.close()
    clock.time = 1030
    third = SharedOnce(path, clock)
    assert (third.since, third.spend(b"a", 1060)) == (1000.0, False)
    second.close()
    third.close()
    assert not path.exists()
    again = SharedOnce(path, clock)
    assert again.since == 1030.0, "what was made before may have been used, and is refused"


def test_what_a_crash_of_the_machine_left_is_not_believed(tmp_path):
    path = tmp_path / "once.db"
    path.write_bytes(b"half a page of a database")
    path.chmod(0o600)
    once = SharedOnce(path, Turned(2000.0))
    assert once.since == 2000.0
    assert once.spend(b"a", 2060)
    assert path.stat().st_mode & 0o777 == 0o600


# Faults deny


def locked(path):
    """Somebody holds the file's lock and does not let go."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    return holder


@pytest.mark.anyio
async def test_while_the_file_is_locked_nobody_gets_in_and_nothing_is_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(volatile, "WAIT_SECONDS", 0.001)
    once, vaults = (
        SharedOnce(tmp_path / "once.db", Clock()),
        SharedVaults(tmp_path / "vaults.db", KEY, Clock()),
    )
    claims = SharedClaims(tmp_path / "claims.db", "one")
    vaults.vault("s1").hide("A", "x")
    holders = [locked(tmp_path / f"{name}.db") for name in ("once", "vaults", "claims")]
    assert not once.spend(b"a", time.time() + 60)
    for fails in (
        lambda: claims.claim("k", "one"),
        lambda: claims.take("k", "one", "two"),
    ):
        with pytest.raises(Problem, match="PC7050"):
            await fails()
    with pytest.raises(Problem, match="PC7050"):
        vaults.vault("s1").hide("A", "y")
    assert vaults.vault("s1").reveal("<A_1>") == "x", "what is known can be read"
    for holder in holders:
        holder.close()
    assert once.spend(b"a", time.time() + 60)
    assert vaults.vault("s1").hide("A", "y") == "<A_2>"
    assert await claims.claim("k", "one") == "one"


@pytest.mark.anyio
async def test_last_calls_that_cannot_be_read_are_left_out_and_refuse_nobody(tmp_path):
    recent = SharedRecent(tmp_path / "recent.db", KEY)
    recent.add("s1", Step(at=1.0, what="x", risk="read", verdict="allow"), acts=False)
    assert len(await recent.of("s1")) == 1
    recent._file.write().__enter__()("DROP TABLE step", ())
    assert await recent.of("s1") == ()


def test_a_vault_that_cannot_be_read_denies(tmp_path):
    vaults = SharedVaults(tmp_path / "vaults.db", KEY, Clock())
    vaults.vault("s1").hide("A", "x")
    other = SharedVaults(tmp_path / "vaults.db", bytes(32), Clock())
    with pytest.raises(Problem, match="PC7050"):
        other.vault("s1")
    moved = sqlite3.connect(tmp_path / "vaults.db", isolation_level=None)
    moved.execute("INSERT INTO vault SELECT 9, 's2', 0, 1, used_at FROM vault")
    moved.execute("INSERT INTO hidden SELECT 9, number, sealed FROM hidden")
    with pytest.raises(Problem, match="PC7050"):
        vaults.vault("s2")
    moved.execute("DROP TABLE hidden")
    with pytest.raises(Problem, match="PC7050"):
        vaults.vault("s1")


# What stands on the disk


def test_no_value_stands_in_clear_on_the_disk_and_none_at_all_after_the_session(tmp_path):
    folder = tmp_path / "shared"
    vaults = SharedVaults(folder / "vaults.db", KEY, Clock())
    vaults.vault("s1").hide("EMAIL", "ada@customer.example")
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not any(b"ada@customer" in data for data in found.values())
    [(sealed,)] = vaults._file.read("SELECT sealed FROM hidden")
    assert any(sealed in data for data in found.values())
    vaults.end(lambda key: False)
    assert not any(sealed[-16:] in path.read_bytes() for path in folder.iterdir())


@pytest.mark.anyio
async def test_another_gateway_drops_what_it_read_of_a_session_that_has_ended(tmp_path):
    one, two = (SharedVaults(tmp_path / "vaults.db", KEY, Clock()) for _ in range(2))
    one.vault("s1").hide("A", "x")
    assert two.vault("s1").reveal("<A_1>") == "x"
    one.end(lambda key: False)
    assert two.vault("s1").reveal("<A_1>") is None
    assert await one.keys() == await two.keys() == ()


def test_what_users_say_at_two_gateways_at_once_is_all_kept(tmp_path):
    new_database(tmp_path / "portcullis.db").dispose()
    sealer = sealer_at(tmp_path)

    async def say():
        states = [
            SharedSessionState(open_sqlite(tmp_path / "portcullis.db"), Clock(), sealer)
            for _ in range(2)
        ]
        now = time.time()
        await states[0].open(
            Session(
                id="s1",
                agent="a",
                application="app",
                user="u",
                prompt="p",
                subject={},
                grant=None,
                opened_at=now,
                expires_at=now + 60,
            )
        )
        for state in states:
            assert await state.get("s1") is await state.get("s1"), "nothing has changed"
        await asyncio.gather(*(states[n % 2].say("s1", f"turn {n}") for n in range(12)))
        for state in states:
            assert sorted((await state.get("s1")).turns) == sorted(f"turn {n}" for n in range(12))
            assert len(state._expiries) == 1
            assert await state.ended(["s1", "s2"]) == {"s2"}
        assert await states[1].close("s1")
        assert await states[0].get("s1") is None, "at once"
        for state in states:
            state.shut()

    asyncio.run(say())
