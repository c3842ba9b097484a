"""If these fail, who watches sees less than happens or more than may be seen, or slows the gate."""

import asyncio
import contextlib

import msgspec
import pytest

from exported import event
from portcullis.control.happened import happened
from portcullis.control.live import READERS_EACH, Feed
from portcullis.core.approval import Approval, State
from portcullis.core.call import RiskClass
from portcullis.core.desk import LiveFilter
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio
ALL = LiveFilter()


@pytest.fixture
def anyio_backend():
    return "asyncio"


class World:
    """The log and the approvals' table, as far as they are watched."""

    def __init__(self, **bounds):
        self.watcher, self.rows, self.asked, self.time = None, [], [], 1000.0
        self.feed = Feed(self, self.changed, self, **bounds)

    def now(self):
        return self.time

    def watch(self, watcher):
        self.watcher = watcher

    def changed(self, since, limit):
        self.asked.append((since, limit))
        return tuple(one for one in self.rows if one.created_at >= since)[:limit]

    async def commit(self, *events):
        """What the log's thread does once they are durable."""
        await asyncio.to_thread(self.watcher, [msgspec.json.encode(one) for one in events])
        await asyncio.sleep(0)


@pytest.fixture
def world():
    return World()


def admin(method, **fields):
    said = {"type": "admin", "principal_kind": "operator", "principal": "bea", "method": method}
    return event(**(said | {"session": "", "server": "", "action": "", "risk": ""} | fields))


def approval(state=State.PENDING, **fields):
    one = Approval(
        id="a1",
        state=state,
        binding="b",
        agent="agent-1",
        session="session-1",
        action="tool",
        server="mail",
        name="send",
        risk=RiskClass.EXTERNAL,
        created_at=1000.0,
        expires_at=2000.0,
        settled_at=0.0 if state is State.PENDING else 1001.0,
    )
    return msgspec.structs.replace(one, **fields)


async def test_what_is_on_record_is_seen_in_order_by_everybody_whom_it_is_for(world):
    async with (
        world.feed.subscribe(ALL, "bea") as everything,
        world.feed.subscribe(LiveFilter(agent="agent-2", verdict="deny"), "bea") as some,
    ):
        await world.commit(
            event(1), event(2, principal="agent-2", verdict="deny", code="PC3002"), event(3)
        )
        seen = [await anext(everything) for _ in range(3)]
        assert [one.event for one in seen] == [event(n).id for n in (1, 2, 3)]
        assert [one.id for one in seen] == sorted({one.id for one in seen})
        only = await anext(some)
        assert (only.event, only.agent, only.code) == (event(2).id, "agent-2", "PC3002")


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (event(type="tool_call"), "decision", {"agent": "agent-1", "name": "search"}),
        (event(type="llm_result"), "result", {"session": "session-1"}),
        (event(type="error", verdict="deny"), "decision", {"verdict": "deny"}),
        (admin("sessions.open", name="agent:x", session="s9"), "session",
         {"agent": "x", "session": "s9", "operator": "bea"}),
        (admin("principals.suspend", name="agent:x"), "principal", {"agent": "x"}),
        (admin("policy.activate", name=""), "admin", {"agent": "", "operator": "bea"}),
        (admin("approval.frozen", name="agent:x"), "admin", {"agent": "x", "state": ""}),
        (event(type="admin", method="approval.requested", approval="a1"), "approval",
         {"agent": "agent-1", "state": "pending", "approval": "a1", "name": "search"}),
        (admin("approval.denied", name="a1", approval="a1",
               parameters={"agent": "x", "session": "s3", "reason": "no"}), "approval",
         {"agent": "x", "session": "s3", "state": "denied", "name": "", "operator": "bea"}),
    ],
    ids=lambda one: getattr(one, "method", None),
)  # fmt: skip
async def test_each_event_is_of_its_kind_and_about_whom_it_is(given, kind, said):
    seen = happened(msgspec.json.encode(given))
    assert seen.kind == kind
    assert {name: getattr(seen, name) for name in said} == said


async def test_nothing_of_what_was_asked_is_seen():
    secret = "4111-1111"  # noqa: S105 - a needle, no secret
    seen = happened(
        msgspec.json.encode(
            event(
                parameters={"card": secret},
                reason=secret,
                rule=secret,
                source=secret,
                findings=(secret,),
                commitments={"user": secret},
                features=(secret,),
                cost=secret,
            )
        )
    )
    assert secret not in msgspec.json.encode(seen).decode()
    assert happened(b"\0not an event") is None


async def test_a_slow_reader_is_told_that_it_missed_something_and_holds_nobody_up():
    world = World(queued=4)
    async with world.feed.subscribe(ALL, "bea") as slow, world.feed.subscribe(ALL, "bea") as quick:
        for number in range(20):
            await world.commit(event(number))
            assert (await anext(quick)).kind == "decision"
        first = await anext(slow)
        assert first.kind == "resync"
        rest = [await anext(slow) for _ in range(3)]
        assert [one.event for one in rest] == [event(number).id for number in (17, 18, 19)]
        assert [one.id for one in (first, *rest)] == [17, 18, 19, 20]


async def test_nobody_is_listened_to_while_nobody_watches(world):
    assert world.watcher is None
    async with world.feed.subscribe(ALL, "bea"):
        assert world.watcher is not None
    assert world.watcher is None


async def test_only_so_many_watch_and_a_place_is_free_again():
    world = World(readers=2)
    async with world.feed.subscribe(ALL, "bea"):
        async with world.feed.subscribe(ALL, "bea"):
            with pytest.raises(Problem, match="PC3052"):
                async with world.feed.subscribe(ALL, "bea"):
                    pass
        async with world.feed.subscribe(ALL, "bea"):
            assert world.watcher is not None


async def test_what_another_process_does_to_an_approval_is_seen_once(world, monkeypatch):
    monkeypatch.setattr("portcullis.control.live.LOOK_SECONDS", 0.01)
    async with world.feed.subscribe(LiveFilter(kinds=("approval",)), "bea") as watching:
        world.rows = [approval()]
        asked = await anext(watching)
        assert (asked.state, asked.approval, asked.method) == (
            "pending",
            "a1",
            "approval.requested",
        )
        await world.commit(event(type="admin", method="approval.requested", approval="a1"))
        world.rows = [approval(State.DENIED)]
        assert (await anext(watching)).state == "denied"
        await world.commit(event(type="admin", method="approval.reminded", approval="a1"))
        assert (await anext(watching)).method == "approval.reminded"
    assert world.asked[0] == (1000.0, 1024)


async def test_the_end_of_the_gate_is_the_end_for_all_who_watch(world):
    async with world.feed.subscribe(ALL, "bea") as watching:
        waiting = asyncio.ensure_future(anext(watching, None))
        await asyncio.sleep(0)
        world.feed.close()
        assert await waiting is None
    with pytest.raises(Problem, match="PC3052"):
        async with world.feed.subscribe(ALL, "bea"):
            pass


async def test_who_reads_as_it_comes_misses_nothing_of_much_at_once(world):
    async with world.feed.subscribe(ALL, "bea") as slow, world.feed.subscribe(ALL, "cy") as quick:
        await world.commit(*(event(number) for number in range(1000)))
        async with asyncio.timeout(10):
            seen = [await anext(quick) for _ in range(1000)]
        assert [one.event for one in seen] == [event(number).id for number in range(1000)]
        assert (await anext(slow)).kind == "resync"


async def test_where_more_changed_than_is_looked_at_everybody_is_told_to_look_again(
    world, monkeypatch
):
    monkeypatch.setattr("portcullis.control.live.LOOK_SECONDS", 0.01)
    wanted = LiveFilter(kinds=("approval",), agent="mine")
    async with world.feed.subscribe(wanted, "bea") as watching, asyncio.timeout(10):
        world.rows = [approval(id=f"a{number}") for number in range(2000)]
        assert (await anext(watching)).kind == "resync"


async def test_one_operator_does_not_take_all_places(world):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(READERS_EACH):
            await stack.enter_async_context(world.feed.subscribe(ALL, "bea"))
        with pytest.raises(Problem, match="PC3052"):
            await stack.enter_async_context(world.feed.subscribe(ALL, "bea"))
        await stack.enter_async_context(world.feed.subscribe(ALL, "cy"))


async def test_what_happens_after_the_clock_went_back_is_seen(world, monkeypatch):
    monkeypatch.setattr("portcullis.control.live.LOOK_SECONDS", 0.01)
    async with world.feed.subscribe(ALL, "bea") as watching, asyncio.timeout(10):
        world.time = 400.0
        world.rows = [approval(created_at=400.0)]
        assert (await anext(watching)).approval == "a1"
