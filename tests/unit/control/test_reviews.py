"""If these fail, the wrong people say what a call was, nobody is reminded, or no log has it."""

from __future__ import annotations

import pytest

from exported import event
from portcullis.control.containment import by_itself
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.principal import Session
from portcullis.core.review import Disposition, State, Wanted
from portcullis.store.engine import open_sqlite
from unit.store.test_reviews import World as Logs
from unit.store.test_reviews import act, flagged

pytestmark = pytest.mark.anyio
ONE = f"{1:032x}"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def queue(world, tmp_path):
    """A queue with one entry, of a session of grace's that is open, of an agent of cy's."""
    engine = open_sqlite(tmp_path / "portcullis.db")
    logs = Logs(engine)
    logs.read("gate", flagged(1, session="s1", principal="shop-1"))
    world.services.clock.time = flagged(1).time.timestamp() + 10
    yield world.services.reviews("control")
    engine.dispose()


def session(**fields):
    made = {
        "id": "s1",
        "agent": "shop-1",
        "application": "web",
        "user": "grace",
        "prompt": "Delete me",
        "subject": {},
        "grant": ("crm.delete",),
        "opened_at": 0.0,
        "expires_at": 4e9,
    }
    return Session(**(made | fields))


def operator(world, name):
    return Context(
        principal=world.principal("operator", name),
        session=None,
        source="test",
        trace_id="0" * 32,
        received_at=0.0,
    )


async def refused(work):
    with pytest.raises(Problem) as caught:
        await work
    return caught.value.code


async def test_four_eyes_close_it_and_it_is_recorded_first(world, queue):
    await world.services.sessions.open(session())
    close = queue.close
    reason = Disposition.EXPECTED, "she asked for it"
    for who in ("grace", "local-grace", "Grace"):
        assert await refused(close(operator(world, who), ONE, *reason)) == "PC3046"
    world.recorder.full = True
    assert await refused(close(operator(world, "bea"), ONE, *reason)) == "PC6001"
    world.recorder.full = False
    assert [one.state for one in await queue.list(Wanted())] == [State.OPEN]
    done = await close(operator(world, "bea"), ONE, *reason)
    assert (done.state, done.disposition, done.decided_by) == (State.CLOSED, "expected", "bea")
    said = world.recorder.last
    assert (said.method, said.name, said.parameters["turn"]) == ("review.closed", ONE, 1)
    again = await queue.reopen(operator(world, "cy"), ONE, "not so sure")
    assert (again.state, again.turn, again.reason) == (State.OPEN, 2, "not so sure")
    assert await refused(queue.reopen(operator(world, "cy"), ONE, "again")) == "PC3049"
    assert await refused(queue.show(operator(world, "cy"), "ff")) == "PC3048"


async def test_the_task_is_shown_while_it_lasts_and_that_it_was_read_is_on_record(world, queue):
    await world.services.sessions.open(session())
    _, looked = await queue.show(operator(world, "bea"), ONE)
    assert (looked.user, looked.session.prompts) == ("grace", ("Delete me",))
    assert (world.recorder.last.method, world.recorder.last.name) == ("review.read", ONE)
    await world.services.sessions.close("s1")
    _, looked = await queue.show(operator(world, "bea"), ONE)
    assert (looked.user, looked.session, looked.content) == ("", None, ())
    world.recorder.full = True
    assert await refused(queue.show(operator(world, "bea"), ONE)) == "PC6001"


async def test_of_what_is_open_for_long_somebody_is_reminded_once(world, queue):
    await queue.remind()
    assert not world.recorder.events
    world.clock.time += 86_400
    await queue.remind()
    await queue.remind()
    assert [one.method for one in world.recorder.events] == ["review.reminded"]
    assert world.recorder.last.parameters["waited"] == 86_410
    assert world.recorder.last.principal == by_itself(0.0).principal.id
    (entry,) = await queue.list(Wanted())
    assert entry.reminded_at == world.clock.time


async def test_a_damaged_row_keeps_nobody_from_being_reminded_of_the_others(world, tmp_path):
    engine = open_sqlite(tmp_path / "portcullis.db")
    Logs(engine).read("gate", flagged(1), flagged(2))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE reviews SET clear = '{' WHERE number = 0")
    world.clock.time += 4e9
    with pytest.raises(ValueError, match="Expecting"):
        await world.services.reviews("control").remind()
    assert [one.name for one in world.recorder.events] == [f"{2:032x}"]
    engine.dispose()


async def test_while_the_log_is_read_nobody_acts_on_what_may_have_been_closed(
    world, queue, tmp_path
):
    logs = Logs(open_sqlite(tmp_path / "portcullis.db"))
    logs.read("gate", act(2, 1, "closed"))
    world.recorder.events += [flagged(1), act(2, 1, "closed")]
    logs.read("gate", flagged(1), anew=True)
    world.clock.time += 86_400
    bea, before = operator(world, "bea"), list(world.recorder.events)
    assert [one.state for one in await queue.list(Wanted())] == [State.OPEN]
    for work in (
        queue.remind(),
        queue.trim(),
        queue.reopen(bea, ONE, "why"),
        queue.close(bea, ONE, Disposition.EXPECTED, "why"),
    ):
        assert await refused(work) == "PC3050"
    assert world.recorder.events == before
    logs.read("gate", act(2, 1, "closed"))
    await queue.remind()
    assert (await queue.reopen(bea, ONE, "why")).state is State.OPEN
    logs.engine.dispose()


def test_who_may_list_may_not_read_and_no_cursor_is_anything(control, world, queue):
    vic, bea = (
        world.bearer("operator", name, roles=(role,))
        for name, role in (("vic", "viewer"), ("bea", "approver"))
    )
    path = "/api/v1/reviews"
    found = control.get(path, headers=vic).json()
    assert ([one["id"] for one in found["reviews"]], found["cursor"]) == ([ONE], "")
    assert control.get(path, params={"cursor": ONE}, headers=vic).json()["reviews"] == []
    assert control.get(path, params={"state": "gone"}, headers=vic).json()["code"] == "PC1020"
    assert control.get(f"{path}/{ONE}", headers=vic).json()["code"] == "PC2004"
    body = {"disposition": "mistake", "reason": "why"}
    assert control.post(f"{path}/{ONE}/close", json=body, headers=vic).json()["code"] == "PC2004"
    wrong = body | {"disposition": "fine"}
    assert control.post(f"{path}/{ONE}/close", json=wrong, headers=bea).json()["code"] == "PC1020"
    done = control.post(f"{path}/{ONE}/close", json=body, headers=bea).json()
    assert (done["state"], done["disposition"]) == ("closed", "mistake")
    assert control.get(path, params={"state": "open"}, headers=vic).json()["reviews"] == []


async def test_more_than_a_page_is_listed_page_by_page(world, tmp_path):
    engine = open_sqlite(tmp_path / "portcullis.db")
    Logs(engine).read("gate", *(flagged(n) for n in range(1, 203)), event(300))
    queue = world.services.reviews("control")
    first = await queue.list(Wanted())
    rest = await queue.list(Wanted(), first[-1].id)
    assert (len(first), len(rest)) == (200, 2)
    engine.dispose()
