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
from portcullis.core.principal import Proposal, Session
from portcullis.oversight.recent import STEPS
from portcullis.store import volatile
from portcullis.store.called import SharedCalled
from portcullis.store.claims import SharedClaims
from portcullis.store.engine import open_sqlite
from portcullis.store.once import SharedOnce
from portcullis.store.proposals import SharedProposals
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


def test_while_the_file_is_locked_nobody_gets_in_and_nothing_is_hidden(tmp_path, monkeypatch):
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
        lambda: vaults.vault("s1").hide("A", "y"),
        lambda: claims.claim("k", "one"),
        lambda: claims.take("k", "one", "two"),
    ):
        with pytest.raises(Problem, match="PC7050"):
            fails()
    assert vaults.vault("s1").reveal("<A_1>") == "x", "what is known can be read"
    for holder in holders:
        holder.close()
    assert once.spend(b"a", time.time() + 60)
    assert vaults.vault("s1").hide("A", "y") == "<A_2>"
    assert claims.claim("k", "one") == "one"


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


def test_another_gateway_drops_what_it_read_of_a_session_that_has_ended(tmp_path):
    one, two = (SharedVaults(tmp_path / "vaults.db", KEY, Clock()) for _ in range(2))
    one.vault("s1").hide("A", "x")
    assert two.vault("s1").reveal("<A_1>") == "x"
    one.end(lambda key: False)
    assert two.vault("s1").reveal("<A_1>") is None
    assert one.keys() == two.keys() == ()


# The others


def test_a_process_is_kept_by_whoever_was_first_until_that_is_gone(tmp_path):
    one, two = (SharedClaims(tmp_path / "claims.db", name) for name in ("one", "two"))
    assert (one.claim("k", "one"), two.claim("k", "two")) == ("one", "one")
    two.release("k", "two")
    assert two.claim("k", "two") == "one", "nobody lets go what is another's"
    assert two.take("k", "two", "one") == "two"
    assert one.take("k", "one", "one") == "two", "it was taken over already"
    SharedClaims(tmp_path / "claims.db", "two")
    assert one.claim("k", "one") == "one", "what an earlier process of that name kept is gone"
    one.release("k", "one")
    assert two.claim("k", "two") == "two"


def test_a_proposal_is_found_at_another_gateway_once_and_only_under_its_key(tmp_path):
    one, two = (SharedProposals(tmp_path / "proposals.db", KEY) for _ in range(2))
    said = [Proposal(name="get", digest=f"{n:064x}", event=f"e{n}") for n in range(3)]
    one.add("s1", [*said, said[0]])
    assert two.take("s2", ["get"], said[0].digest) is None
    assert two.take("s1", ["put"], said[0].digest) is None
    assert [two.take("s1", ["get", "put"], said[0].digest) for _ in range(3)] == ["e0", "e0", None]
    one.forget("s1")
    assert two.take("s1", ["get"], said[1].digest) is None
    stood = (tmp_path / "proposals.db").read_bytes() + (tmp_path / "proposals.db-wal").read_bytes()
    assert said[0].digest.encode() not in stood


def test_what_a_session_called_at_one_gateway_is_known_at_another(tmp_path):
    one, two = (SharedCalled(tmp_path / "called.db") for _ in range(2))
    one.note("s1", "crm", "get_customer")
    one.note("s1", "crm", "get_customer")
    two.note("s1", "crm", "")
    assert one.names("s1", "crm") == two.names("s1", "crm") == {"", "get_customer"}
    assert not two.names("s1", "mail")
    assert not two.names("s2", "crm")


def test_an_approver_sees_what_a_session_did_at_every_gateway(tmp_path):
    one, two = (SharedRecent(tmp_path / "recent.db", KEY) for _ in range(2))
    done = Step(at=1.0, what="tools/call mail.send", risk="external", verdict="allow")
    one.add("s1", done, acts=True)
    for number in range(STEPS + 5):
        read = Step(at=2.0 + number, what="resources/read crm.ada", risk="read", verdict="allow")
        two.add("s1", read, acts=False)
    seen = two.of("s1")
    assert done in seen
    assert len(seen) == STEPS + 1
    assert one.of("s2") == ()
    assert b"crm.ada" not in (tmp_path / "recent.db-wal").read_bytes()
    two._file.write().__enter__()("DROP TABLE step", ())
    assert two.of("s1") == (), "what cannot be read is left out, and refuses nobody"


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
