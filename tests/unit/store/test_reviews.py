"""If these fail, what policy let pass is not looked at, or the queue is not what the logs say."""

from __future__ import annotations

from typing import Any

import pytest

from databases import changed, each_kind, each_test, new_database  # noqa: F401 - fixtures
from exported import event
from portcullis.audit.export.source import Position
from portcullis.core.event import Event, EventType
from portcullis.core.review import Entry, State, Wanted
from portcullis.store.dialect import writing
from portcullis.store.projection import SqlProjection
from portcullis.store.reviews import SqlReviews

OPEN, CLOSED = Wanted(state=State.OPEN), Wanted(state=State.CLOSED)


def flagged(number: int, **fields: Any) -> Event:
    fields = {"risk": "delete", "review": True, "parameters": {"id": 7}} | fields
    return event(number, **fields)


def act(number: int, entry: int, verb: str, turn: int = 1, **fields: Any) -> Event:
    said = {"turn": turn, "disposition": "mistake" * (verb == "closed"), "reason": f"r{number}"}
    return event(
        number,
        type=EventType.ADMIN,
        method=f"review.{verb}",
        name=f"{entry:032x}",
        principal="bea",
        parameters=said,
        **fields,
    )


class World:
    """Logs as lists of events, None where one is pruned, read into a real database."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.projection, self.store = SqlProjection(engine), SqlReviews(engine)

    def read(self, log: str, *events: Event | None, anew: bool = False) -> None:
        if anew:
            self.projection.restart(log)
        reached = self.projection.position(log)
        following = Position(reached.next + len(events), f"{reached.next + len(events):064x}")
        numbered = list(enumerate(events, reached.next))
        assert self.projection.put(log, reached, numbered, following)

    def ids(self, wanted: Wanted = OPEN) -> list[int]:
        return [int(one.id, 16) for one in self.store.list(wanted, "", 1000)]

    def all(self) -> tuple[Entry, ...]:
        return self.store.list(Wanted(), "", 1000)


@pytest.fixture
def world(tmp_path):
    engine = new_database(tmp_path / "portcullis.db")
    yield World(engine)
    engine.dispose()


def test_what_is_flagged_is_an_entry_with_all_that_the_log_says(world: World) -> None:
    world.read(
        "gate",
        event(0, risk="delete"),
        flagged(1, commitments={"user": "hmac-sha256:01", "arguments.to": "hmac-sha256:03"}),
        flagged(2, verdict="deny"),
    )
    (entry,) = world.all()
    assert (entry.id, entry.log, entry.agent) == (f"{1:032x}", "gate", "agent-1")
    assert (entry.user, entry.arguments) == ("hmac-sha256:01", ("id", "to"))
    assert (entry.clear, entry.state, entry.turn) == ({"id": 7}, State.OPEN, 0)
    assert world.store.get(entry.id) == entry
    assert world.store.get("nothing") is None


def test_only_what_an_operator_did_closes_it_and_the_last_turn_counts(world: World) -> None:
    world.read("gate", flagged(1), act(2, 1, "closed", verdict="deny"))
    assert world.ids() == [1]
    world.read("gate", act(3, 1, "closed"), act(5, 1, "reopened", 2))
    world.read("gate", act(4, 1, "closed", 3))  # its clock was put back
    (entry,) = world.all()
    assert (entry.state, entry.disposition, entry.reason, entry.turn) == (
        State.CLOSED,
        "mistake",
        "r4",
        3,
    )
    assert entry.decided_by == "bea"


def test_a_log_that_is_read_anew_gives_the_same_queue(world: World) -> None:
    events = [flagged(1), flagged(2), act(3, 1, "closed"), act(4, 2, "reminded"), flagged(5)]
    world.read("gate", *events)
    before = world.all()
    for _ in range(2):
        world.read("gate", *events, anew=True)
        assert world.all() == before
    assert [one.state for one in before] == [State.CLOSED, State.OPEN, State.OPEN]


def test_the_order_in_which_logs_are_read_does_not_matter(world: World) -> None:
    world.read("gate", act(2, 1, "closed"))
    world.read("mcp-mail", flagged(1))
    assert (world.ids(CLOSED), world.all()[0].log) == ([1], "mcp-mail")
    world.read("mcp-mail", flagged(1), anew=True)
    assert world.ids(CLOSED) == [1]


def test_while_a_log_is_read_anew_nothing_counts_that_it_may_not_have(world: World) -> None:
    world.read("gate", flagged(1), act(2, 1, "closed"), flagged(3))
    world.read("gate", flagged(1), anew=True)
    assert (world.ids(), world.ids(CLOSED)) == ([1], [])


def test_an_act_counts_as_soon_as_it_is_on_record_and_once(world: World) -> None:
    world.read("gate", flagged(1))
    closed = act(2, 1, "closed")
    world.store.note("gate", closed)
    assert world.ids(CLOSED) == [1]
    before = world.all()
    world.read("gate", closed)
    assert world.all() == before
    world.store.note("gate", act(3, 1, "reopened", 2))  # it is not in the log that is read anew
    assert world.ids() == [1]
    world.read("gate", flagged(1), closed, anew=True)
    assert world.ids(CLOSED) == [1]


def test_an_act_counts_whichever_comes_first_and_whichever_log_is_read_anew(world: World) -> None:
    closed, opened = act(2, 1, "closed"), act(3, 1, "reopened", 2)
    world.read("gate", flagged(1), closed)
    world.store.note("gate", closed)
    world.read("gate", opened)
    world.store.note("gate", opened)  # the projector was quicker than who did it
    world.projection.restart("mcp-mail")
    assert (world.ids(), world.ids(CLOSED)) == ([1], [])
    world.store.note("gate", act(4, 1, "closed", 3))  # and here the other way round
    world.projection.restart("mcp-mail")
    assert (world.ids(), world.ids(CLOSED)) == ([], [1])


def test_a_log_that_is_not_read_as_far_as_its_acts_is_not_read(world: World) -> None:
    assert not world.store.read("gate", 1, 1)
    events = flagged(1), act(2, 1, "closed"), flagged(3)
    world.read("gate", *events)
    assert world.store.read("gate", 3, 9)
    world.read("gate", events[0], anew=True)
    assert not world.store.read("gate", 0, 3), "the closing is yet to be read"
    assert world.store.read("gate", 0, 1), "what lies behind the end of the log is of another"
    world.read("gate", events[1])
    assert not world.store.read("gate", 3, 3)
    assert world.store.read("gate", 2, 3)


def test_what_is_reopened_while_others_are_forgotten_stays(world: World) -> None:
    world.read("gate", *map(flagged, range(1, 4)), *(act(9 + n, n, "closed") for n in (1, 2, 3)))
    begin = world.store._writing.begin

    class Slow:
        def begin(self) -> Any:
            world.store._writing = writing(world.engine, "reviews")
            world.store.note("gate", act(20, 1, "reopened", 2))
            return begin()

    world.store._writing = Slow()
    assert world.store.trim(1) == 1
    assert (world.ids(), world.ids(CLOSED)) == ([1], [3])


def test_a_row_that_cannot_be_read_hides_no_other(world: World) -> None:
    world.read("gate", flagged(1), flagged(2), flagged(3), act(4, 3, "closed"), flagged(50))
    odd = "{" if world.engine.dialect.name == "sqlite" else "7"  # or a server refuses it
    changed(world.engine, f"UPDATE reviews SET clear = '{odd}' WHERE number IN (0, 2)")  # noqa: S608 - ours
    late = flagged(10).time.timestamp()
    assert [int(one, 16) for one in world.store.due(late, 9)] == [1, 2]
    assert world.store.trim(0) == 1


def test_an_act_counts_also_before_anything_of_its_log_was_read(world: World) -> None:
    world.read("mcp-mail", flagged(1))
    world.store.note("gate", act(2, 1, "closed"))
    assert world.ids(CLOSED) == [1]


def test_what_is_pruned_stays_until_it_is_closed(world: World) -> None:
    world.read("gate", flagged(1), flagged(2), act(3, 2, "closed"))
    world.projection.forget("gate", [0, 1])
    assert world.store.trim(10) == 1
    assert (world.ids(), world.ids(CLOSED)) == ([1], [])
    world.read("gate", None, None, act(3, 2, "closed"), anew=True)
    assert world.ids() == [1]
    world.read("gate", act(4, 1, "closed"))
    assert world.store.trim(10) == 1
    assert world.all() == ()


def test_what_was_closed_stays_so_when_its_closing_is_pruned_and_the_log_read_anew(
    world: World,
) -> None:
    closed = act(2, 1, "closed")
    world.read("gate", flagged(1), closed)
    world.store.note("gate", closed)  # the projector was quicker than who did it
    world.projection.forget("gate", [1])
    world.read("gate", flagged(1), None, anew=True)
    assert (world.ids(), world.ids(CLOSED)) == ([], [1])


def test_of_the_closed_ones_the_last_are_kept_and_of_the_open_ones_all(world: World) -> None:
    order = [3, 1, 4, 2]
    closings = (act(20 + n, one, "closed") for n, one in enumerate(order))
    world.read("gate", *(flagged(n) for n in range(1, 8)), *closings)
    assert world.store.trim(2) == 2
    assert (world.ids(CLOSED), world.ids()) == ([2, 4], [5, 6, 7])
    assert world.store.trim(2) == 0


def test_it_is_listed_by_what_is_wanted_in_pages(world: World) -> None:
    world.read("gate", flagged(1), flagged(2, principal="agent-2"), flagged(3, risk="external"))
    assert world.ids(Wanted(agent="agent-2")) == [2]
    assert world.ids(Wanted(risk="external", state=State.OPEN)) == [3]
    first = world.store.list(Wanted(), "", 2)
    assert [one.id for one in world.store.list(Wanted(), first[-1].id, 2)] == [f"{3:032x}"]


def test_somebody_is_due_to_be_reminded_of_what_is_open_once(world: World) -> None:
    world.read("gate", flagged(1), flagged(2), flagged(3), act(4, 2, "closed"), flagged(50))
    late = flagged(10).time.timestamp()

    def due() -> list[int]:
        return [int(one, 16) for one in world.store.due(late, 9)]

    assert due() == [1, 3]
    world.store.note("gate", act(11, 1, "reminded"))
    assert due() == [3]
    assert world.store.get(f"{1:032x}").reminded_at == act(11, 1, "reminded").time.timestamp()
