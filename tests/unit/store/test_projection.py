"""If these fail, an investigator is shown less than the log holds, or what it never held."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from databases import each_kind, each_test, new_database  # noqa: F401 - fixtures
from exported import START, event
from portcullis.audit.export.source import Position, Source
from portcullis.audit.log import open_log
from portcullis.audit.query import Filter
from portcullis.audit.verify import own_verifier
from portcullis.core.event import Event
from portcullis.store.projection import BATCH, Projector, SqlProjection
from portcullis.store.tables import AUDIT_EVENTS, AUDIT_FINDINGS, AUDIT_POSITIONS
from sealers import sealer_at

LOG = "gate"


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = new_database(root / "portcullis.db")
        self.projection = SqlProjection(self.engine)

    def write(self, *events: Event, name: str = "log") -> None:
        place = self.root / name
        with open_log(
            place, self.root / f"keys-{name}", "example.org/gate", sealer=sealer_at(self.root)
        ) as log:
            for one in events:
                log.enqueue(one)

    def projector(self, log: str = LOG, name: str = "log") -> Projector:
        place = self.root / name
        return Projector(self.projection, log, Source(place, own_verifier(place)))

    def caught_up(self, **options: Any) -> int:
        projector, total = self.projector(**options), 0
        while count := projector.step():
            total += count
        return total

    def found(self, **wanted: Any) -> list[int]:
        reached = self.projection.position(LOG)
        return [*self.projection.find(LOG, Filter(**wanted), reached)]


@pytest.fixture
def world(tmp_path: Path):
    made = World(tmp_path)
    yield made
    made.engine.dispose()


VARIED = [
    event(0),
    event(1, risk="delete", verdict="deny", code="PC3002"),
    event(2, findings=("EMAIL:mask@a", "IBAN@b")),
    event(3, trace_id="ff", credential="jti-7"),
    event(4, commitments={"user": "hmac-sha256:99"}),
    event(5, principal="agent-2", session="session-2", server="files", name="read"),
    event(6, method="resources/read", type="decision", action="resource"),
]
QUESTIONS = [
    ({"risk": "delete"}, [1]),
    ({"verdict": "deny"}, [1]),
    ({"code": "PC3002"}, [1]),
    ({"finding": "IBAN"}, [2]),
    ({"trace": "ff"}, [3]),
    ({"credential": "jti-7"}, [3]),
    ({"user": "hmac-sha256:99"}, [4]),
    ({"principal": "agent-2"}, [5]),
    ({"session": "session-2"}, [5]),
    ({"tool": "files.read"}, [5]),
    ({"tool": "read"}, [5]),
    ({"method": "resources/read"}, [6]),
    ({"type": "decision"}, [6]),
    ({"since": START + timedelta(seconds=5)}, [5, 6]),
    ({"until": START + timedelta(seconds=1)}, [0]),
    ({}, [*range(7)]),
]


@pytest.mark.parametrize(("wanted", "numbers"), QUESTIONS, ids=lambda one: str(one)[:30])
def test_the_store_finds_exactly_what_reading_the_log_would(world: World, wanted, numbers) -> None:
    world.write(*VARIED)
    world.caught_up()
    assert world.found(**wanted) == numbers
    assert [n for n, one in enumerate(VARIED) if Filter(**wanted).matches(one)] == numbers


def test_it_goes_on_where_it_was_also_in_another_process(world: World) -> None:
    world.write(*(event(n) for n in range(BATCH + 50)))
    assert world.projector().step() == BATCH
    assert world.caught_up() == 50
    world.write(event(1000))
    assert world.caught_up() == 1
    assert len(world.found()) == BATCH + 51


def test_two_that_project_at_once_do_not_write_twice(world: World) -> None:
    world.write(*(event(n) for n in range(300)))
    first, second = world.projector(), world.projector()
    reached = second.reached()
    first.step()
    assert not world.projection.put(LOG, reached, [(0, event(0))], Position(1, "00"))
    second.step()
    assert world.found() == [*range(300)]


def test_a_log_that_was_put_in_its_place_is_projected_anew(world: World) -> None:
    world.write(*(event(n, name="old") for n in range(20)))
    world.caught_up()
    shutil.rmtree(world.root / "log")
    shutil.rmtree(world.root / "keys-log")
    world.write(*(event(n, name="new") for n in range(30)))
    assert world.projector().reached() == Position()
    assert world.caught_up() == 30
    assert world.found(tool="old") == []
    assert world.found(tool="new") == [*range(30)]


def test_a_log_that_is_shorter_is_projected_anew_and_shows_nothing_old(world: World) -> None:
    world.write(*(event(n, findings=("IBAN@x",)) for n in range(20)))
    world.caught_up()
    shutil.rmtree(world.root / "log")
    shutil.rmtree(world.root / "keys-log")
    world.write(event(0))
    world.caught_up()
    assert world.found() == [0]
    assert world.found(finding="IBAN") == []
    world.write(*(event(n) for n in range(1, 30)))
    world.caught_up()
    assert world.found(finding="IBAN") == []
    with world.engine.connect() as connection:
        assert connection.execute(select(AUDIT_FINDINGS)).all() == []


def test_reindexing_undoes_what_somebody_changed_in_the_store(world: World) -> None:
    world.write(*VARIED)
    world.caught_up()
    with world.engine.begin() as connection:
        connection.execute(update(AUDIT_EVENTS).values(verdict="allow"))
    assert world.found(verdict="deny") == []
    world.projector().restart()
    assert world.found() == []
    world.caught_up()
    assert world.found(verdict="deny") == [1]


def test_access_adds_up_over_sessions_and_logs(world: World) -> None:
    world.write(
        event(0),
        event(1, session="session-2", verdict="deny", code="PC3001"),
        event(2, commitments={"user": "u2", "subject": "s2"}),
        event(3, type="tool_result", decision="0"),
        event(4, principal="agent-2"),
        event(5, action="list", type="decision", name="tools"),
    )
    world.write(event(6, session=""), name="other")
    world.caught_up()
    world.caught_up(log="mcp-orders", name="other")
    one, two = world.projection.access("agent-1", logs=[LOG, "mcp-orders"])
    assert (one.server, one.name, one.user) == ("orders", "search", "hmac-sha256:01")
    assert (one.allowed, one.denied, one.sessions) == (2, 1, 2)
    assert (one.first, one.last) == (START.timestamp(), (START + timedelta(seconds=6)).timestamp())
    assert (two.user, two.subject, two.allowed, two.sessions) == ("u2", "s2", 1, 1)
    since = (START + timedelta(seconds=2)).timestamp()
    assert [
        row.allowed for row in world.projection.access("agent-1", since, logs=[LOG, "mcp-orders"])
    ] == [1, 1]
    assert [*world.projection.access("nobody", logs=[LOG])] == []


def test_rows_that_no_log_holds_are_gone_after_a_rebuilding(world: World) -> None:
    world.write(*VARIED)
    world.caught_up()
    before = [*world.projection.access("agent-1", logs=[LOG])]
    with world.engine.begin() as connection:
        row = connection.execute(select(AUDIT_EVENTS).limit(1)).mappings().one()
        forged = [
            dict(row) | {"log": log, "number": number, "name": "forged"}
            for log, number in ((LOG, -5), (LOG, 2**40), ("another", 1))
        ]
        connection.execute(insert(AUDIT_EVENTS), forged)
        connection.execute(insert(AUDIT_POSITIONS), [{"log": "another", "next": 9, "root": ""}])
    world.projector().restart()
    world.caught_up()
    assert [*world.projection.access("agent-1", logs=[LOG])] == before
    assert world.found() == [*range(len(VARIED))]


def test_a_position_that_no_log_has_is_made_anew(world: World) -> None:
    world.write(*VARIED)
    world.caught_up()
    with world.engine.begin() as connection:
        connection.execute(update(AUDIT_POSITIONS).values(next=-5))
    assert world.caught_up() == len(VARIED)


def test_findings_whose_types_begin_alike_hold_nothing_up(world: World) -> None:
    world.write(event(0, findings=("A" * 300 + "1@a", "A" * 300 + "2@b")), event(1))
    assert world.caught_up() == 2


def test_names_that_no_index_takes_hold_nothing_up(world: World) -> None:
    odd = "a\0b"
    long = "".join(f"{number:x}\u2713" for number in range(4000))
    world.write(event(0, name=odd), event(1, name=long, session=long), event(2, name="read"))
    world.caught_up()
    assert world.found(tool="read") == [2]
    assert world.found(session=long) == [1]


def test_what_is_found_comes_in_pieces_and_is_all_of_it(world: World, monkeypatch) -> None:
    monkeypatch.setattr("portcullis.store.projection._FOUND", 7)
    world.write(*(event(number, risk="delete" if number % 2 else "read") for number in range(50)))
    world.caught_up()
    assert world.found(risk="delete") == list(range(1, 50, 2))
