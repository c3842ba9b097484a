"""If these fail, nobody is told that something waits, or what is over lives on."""

import asyncio

import pytest
from structlog.testing import capture_logs

from databases import new_database
from portcullis.config import Approvals
from portcullis.core.approval import Approval, State, Verb
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.oversight.events import Events
from portcullis.oversight.keeping import Keeping
from portcullis.store.approvals import SqlApprovals

pytestmark = pytest.mark.anyio


class World:
    """The clock, the open sessions and the recorder, and what is kept with them."""

    def __init__(self, folder):
        self.time, self.open, self.events, self.full = 1000.0, {"s1"}, [], False
        self.engine = new_database(folder / "portcullis.db")
        self.store = SqlApprovals(self.engine)
        self.keeping = Keeping(
            store=self.store,
            sessions=self,
            recorder=self,
            clock=self,
            events=Events("gate-1", self, lambda: "e"),
            settings=Approvals(remind_seconds=10, escalate_seconds=20),
            deciding=asyncio.Lock(),
        )

    def now(self):
        return self.time

    async def get(self, session):
        return session if session in self.open else None

    async def durable(self, event):
        self.enqueue(event)

    def enqueue(self, event):
        if self.full:
            raise Problem("PC6001", "full")
        self.events.append((event.method, event.approval))

    def asks(self, approval, session="s1"):
        one = Approval(
            id=approval,
            state=State.PENDING,
            binding=approval * 64,
            agent="shop-1",
            session=session,
            action="tool",
            server="mail",
            name="send",
            risk=RiskClass.DELETE,
            created_at=self.time,
            expires_at=self.time + 100,
        )
        self.store.claim(one, b"x", most=999, now=self.time)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.engine.dispose()


async def test_somebody_is_reminded_then_it_is_escalated_then_it_expires_each_once(world):
    world.asks("a")
    for seconds in (9, 2, 2, 10, 5, 72, 5):
        world.time += seconds
        await world.keeping.look()
    assert world.events == [
        ("approval.reminded", "a"),
        ("approval.escalated", "a"),
        ("approval.expired", "a"),
    ]
    assert world.store.get("a").state is State.EXPIRED


async def test_what_is_approved_expires_too_and_ends_with_its_session(world):
    for letter in "abc":
        world.asks(letter, session="" if letter == "c" else "s1")
    world.store.move("a", Verb.APPROVE, now=world.time, by="bea")
    world.open.clear()
    await world.keeping.look()
    assert world.events == [("approval.cancelled", "a"), ("approval.cancelled", "b")]
    assert [world.store.get(one).state for one in "abc"] == ["cancelled", "cancelled", "pending"]


async def test_of_much_that_merely_waits_only_the_sessions_are_looked_at(world, monkeypatch):
    for number in range(9):
        world.asks(f"{number:064}", session=f"s{number % 2}")
    world.open, looked = {"s0", "s1"}, []
    monkeypatch.setattr(world.store, "list", lambda *_: pytest.fail("all of them were listed"))
    found = world.get

    async def get(session):
        looked.append(session)
        return await found(session)

    world.get = get
    await world.keeping.look()
    assert sorted(looked) == ["s0", "s1"]
    assert world.events == []
    world.open = {"s0"}
    await world.keeping.look()
    assert [method for method, _ in world.events] == ["approval.cancelled"] * 4


async def test_what_was_settled_long_ago_is_listed_no_longer(world):
    world.asks("a")
    world.store.move("a", Verb.DENY, now=world.time, by="bea")
    world.time += 30 * 86_400 - 1
    await world.keeping.forget()
    assert world.store.get("a") is not None
    world.time += 2
    await world.keeping.forget()
    assert world.store.get("a") is None


async def test_what_fails_for_one_keeps_no_other_from_ending(world):
    for letter in "ab":
        world.asks(letter, session=letter)
    found, world.open = world.get, {"b"}

    async def get(session):
        if session == "a":
            raise ValueError("damaged")
        return await found(session)

    world.get, world.open = get, set()
    with pytest.raises(ValueError, match="damaged"):
        await world.keeping.look()
    assert world.events == [("approval.cancelled", "b")]


async def test_what_cannot_be_recorded_is_told_again(world):
    world.asks("a")
    world.time += 11
    world.full = True
    with pytest.raises(Problem):
        await world.keeping.look()
    world.full = False
    await world.keeping.look()
    assert world.events == [("approval.reminded", "a")]


@pytest.mark.parametrize(
    ("after", "method"), [(200, "approval.expired"), (1, "approval.cancelled")]
)
async def test_nothing_ends_that_is_not_on_record_as_ended(world, after, method):
    world.asks("a")
    world.time += after
    world.open.clear()
    world.full = True
    with pytest.raises(Problem):
        await world.keeping.look()
    assert world.store.get("a").state is State.PENDING
    world.full = False
    await world.keeping.look()
    assert world.events == [(method, "a")]
    assert world.store.get("a").state is not State.PENDING


@pytest.mark.parametrize("after", [12, 200])
async def test_nothing_is_told_of_what_was_decided_a_moment_ago(world, after):
    world.asks("a")
    world.time += after
    async with world.keeping.deciding:
        look = asyncio.ensure_future(world.keeping.look())
        await asyncio.sleep(0.1)
        world.store.move("a", Verb.DENY, now=world.time, by="bea")
    await look
    assert world.events == []


async def test_of_what_is_over_nobody_is_told_that_it_still_waits(world):
    world.asks("a")
    world.time += 200
    await world.keeping.look()
    assert world.events == [("approval.expired", "a")]


async def test_of_many_that_wait_somebody_is_told_in_time_and_once(world, monkeypatch):
    for number in range(600):
        world.asks(f"{number:064}", session="")
    world.time += 11
    marked, mark = [], world.store.mark
    monkeypatch.setattr(world.store, "mark", lambda *said: marked.append(mark(*said)))
    await world.keeping.look()
    await world.keeping.look()
    assert marked == [256, 256, 88]
    assert len(set(world.events)) == len(world.events) == 600


async def test_what_was_used_while_its_end_was_recorded_is_said(world):
    world.asks("a")
    world.store.move("a", Verb.APPROVE, now=world.time, by="bea")
    world.open.clear()
    recorded = world.enqueue

    def used(event):
        recorded(event)
        world.store.move("a", Verb.CONSUME, now=world.time)

    world.enqueue = used
    with capture_logs() as said:
        await world.keeping.look()
    assert world.store.get("a").state is State.CONSUMED
    assert [(one["log_level"], one["approval"]) for one in said] == [("warning", "a")]
