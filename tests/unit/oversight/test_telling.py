"""If these fail, nobody hears of a call that waits; or everybody hears of it again and again."""

import asyncio
import contextlib
import time

import msgspec
import pytest
from pydantic import TypeAdapter
from structlog.testing import capture_logs

from databases import new_database
from portcullis.config.notifications import AnyChannel
from portcullis.core.approval import Approval, State, Verb
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.notice_ports import Later, Never
from portcullis.oversight.notices import (
    GATHER_SECONDS,
    GIVE_UP_ATTEMPTS,
    GIVE_UP_SECONDS,
    MOST,
)
from portcullis.oversight.telling import AMENDING_SECONDS, FOLLOWING_SECONDS, Channel
from portcullis.store.approvals import SqlApprovals
from portcullis.store.notices import SqlNotices

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """The process is gone."""


class World:
    """The database, the clock, and a channel's other end: ``fails`` says what it does next."""

    def __init__(self, folder, *, amends=False, **settings):
        self.time = 1_800_000_000.0
        self.engine = new_database(folder / "portcullis.db")
        self.approvals = SqlApprovals(self.engine)
        self.notices = SqlNotices(self.engine)
        self.amends = amends
        self.settings = settings
        self.sent, self.fails, self.events, self.full = [], [], [], False
        self.channel = self.started()

    def started(self):
        """A gate's side of the channel, after a start."""
        hook = {"kind": "webhook", "url": "https://x.example/in", "secrets": ["env:K"]}
        settings = ({} if "kind" in self.settings else hook) | self.settings
        return Channel(
            "ops",
            TypeAdapter(AnyChannel).validate_python(settings),
            self,
            store=self.notices,
            approvals=self.approvals,
            clock=self,
            noticed=self.noticed,
            origin=lambda: "https://console.example",
        )

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    def noticed(self, method, said):
        if self.full:
            raise Problem("PC6001", "full")
        self.events.append((method, said))

    async def tell(self, message, reference):
        fault = self.fails.pop(0) if self.fails else None
        if isinstance(fault, Later | Never) and not getattr(fault, "arrived", False):
            raise fault
        self.sent.append((message, reference))
        if fault is not None:
            raise fault
        return "ref-1"

    async def close(self):
        pass

    def again(self, **settings):
        """The gate is started anew with another configuration."""
        self.settings = settings
        self.channel = self.started()

    def asks(
        self,
        name,
        *,
        agent="shop-1",
        tool="send",
        risk=RiskClass.EXTERNAL,
        server="mail",
        action="tool",
    ):
        one = Approval(
            id=name,
            state=State.PENDING,
            binding=name * 2,
            agent=agent,
            session="s1",
            action=action,
            server=server,
            name=tool,
            risk=risk,
            why="without a source: recipient",
            created_at=self.time,
            expires_at=self.time + 90_000,
        )
        self.approvals.claim(one, b"x", most=10_000, now=self.time)

    def moves(self, name, verb, **said):
        assert self.approvals.move(name, verb, now=self.time, **said)

    async def runs(self, seconds=0.0):
        """Let time pass, and everything be told that may be."""
        self.time += seconds
        await self.channel.look()
        while await self.channel.step():
            await self.channel.look()

    @property
    def told(self):
        """What arrived: the stage of each approval, message by message."""
        return [{one.id: one.stage for one in message.subjects} for message, _ in self.sent]

    @property
    def ids(self):
        return [message.id for message, _ in self.sent]


@pytest.fixture
def make(tmp_path):
    with contextlib.ExitStack() as stack:

        def made(**settings):
            world = World(tmp_path, **settings)
            stack.callback(world.engine.dispose)
            return world

        yield made


async def test_a_call_is_told_once_then_what_comes_of_it_in_the_same_thread(make):
    world = make(amends=True)
    world.asks("a")
    await world.runs()
    await world.runs(5)
    assert world.told == [{"a": "requested"}]
    world.approvals.mark(["a"], "reminded", world.time)
    await world.runs(1)
    world.approvals.mark(["a"], "escalated", world.time)
    await world.runs(1)
    world.moves("a", Verb.APPROVE, by="bea", reason="C-1001 asked")
    await world.runs(1)
    world.moves("a", Verb.CONSUME)
    await world.runs(1)
    assert [list(one.values()) for one in world.told] == [
        ["requested"],
        ["reminded"],
        ["escalated"],
        ["approved"],
    ]
    assert len({message.thread for message, _ in world.sent}) == 1
    assert [reference for _, reference in world.sent] == ["", "ref-1", "ref-1", "ref-1"]
    assert len(set(world.ids)) == 4
    assert {(one.by, one.reason) for one in world.sent[-1][0].subjects} == {("", "")}


async def test_an_approval_that_is_taken_back_is_told_too_and_details_only_if_asked_for(make):
    world = make(details=["operator", "reason"])
    world.asks("a")
    world.moves("a", Verb.APPROVE, by="bea", reason="fine")
    world.asks("b", tool="other")
    await world.runs()
    assert world.told == [{"b": "requested"}]  # what nobody was told of is over already
    world.moves("b", Verb.APPROVE, by="bea", reason="fine")
    await world.runs(1)
    world.moves("b", Verb.DENY, by="cy", reason="no")
    await world.runs(1)
    assert [(one.stage, one.by, one.reason) for m, _ in world.sent for one in m.subjects][1:] == [
        ("approved", "bea", "fine"),
        ("denied", "cy", "no"),
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tell": ["settled"]}, ["approved"]),
        ({"tell": ["escalated"]}, ["escalated"]),
        ({"tell": ["requested"]}, ["requested"]),
        ({"tell": ["frozen"]}, []),
        ({"risks": ["delete"]}, []),
        ({"agents": ["other-*"]}, []),
        ({"servers": ["ma*"]}, ["requested", "escalated", "approved"]),
    ],
)
async def test_a_channel_is_told_what_it_asked_for_and_nothing_else(make, settings, told):
    world = make(**settings)
    world.asks("a")
    await world.runs()
    world.approvals.mark(["a"], "escalated", world.time)
    await world.runs(1)
    world.moves("a", Verb.APPROVE, by="bea")
    await world.runs(1)
    assert [stage for one in world.told for stage in one.values()] == told


async def test_a_flood_is_one_message_that_grows_and_others_are_not_in_it(make):
    world = make(amends=True)
    for number in range(12):
        world.asks(f"a{number}")
        await world.runs(0.5)
    world.asks("b", agent="shop-2")
    await world.runs(AMENDING_SECONDS)
    first = [one for one in world.sent if one[0].agent == "shop-1"]
    assert len(first[-1][0].subjects) == 12
    assert len(first) <= 4
    assert len({message.thread for message, _ in first}) == 1
    assert {"b": "requested"} in world.told
    await world.runs(GATHER_SECONDS + 1)
    world.asks("a-later")
    await world.runs()
    assert world.told[-1] == {"a-later": "requested"}


async def test_where_messages_are_not_amended_a_flood_is_two_messages_and_a_notice_has_its_most(
    make,
):
    world = make()
    for number in range(MOST + 3):
        world.asks(f"a{number}")
    await world.runs()
    assert sorted(map(len, world.told)) == [3, MOST]
    world.asks("more")
    await world.runs(1)
    assert len(world.told) == 2
    await world.runs(FOLLOWING_SECONDS)
    assert len(world.told) == 3
    assert len(world.told[-1]) == 4


async def test_many_that_expire_at_once_are_one_message_where_only_the_end_is_told(make):
    world = make(tell=["settled"])
    for number in range(20):
        world.asks(f"a{number}")
    await world.runs()
    for number in range(20):
        world.moves(f"a{number}", Verb.EXPIRE)
    await world.runs(1)
    (only,) = world.told
    assert set(only.values()) == {"expired"}
    assert len(only) == 20


async def test_a_channel_gets_no_more_in_a_minute_than_it_may(make):
    world = make(per_minute=3)
    for number in range(7):
        world.asks(f"a{number}", tool=f"tool{number}")
    await world.runs()
    assert len(world.sent) == 3
    await world.runs(59)
    assert len(world.sent) == 3
    await world.runs(2)
    assert len(world.sent) == 6
    await world.runs(61)
    assert len(world.sent) == 7


async def test_what_certainly_did_not_arrive_is_told_as_things_are_by_then(make):
    world = make()
    world.fails = [Later("refused")]
    world.asks("a")
    await world.runs()
    assert (world.sent, world.channel.state.failing) == ([], True)
    world.moves("a", Verb.APPROVE, by="bea")
    await world.runs(10)
    assert world.told == [{"a": "approved"}]
    assert [method for method, _ in world.events] == [
        "notification.failing",
        "notification.recovered",
    ]


async def test_what_may_have_arrived_is_sent_again_as_it_was_and_then_what_is_new(make):
    world = make()
    world.fails = [Later("no answer", arrived=True), Later("refused")]
    world.asks("a")
    await world.runs()
    world.moves("a", Verb.APPROVE, by="bea")
    await world.runs(10)
    await world.runs(10)
    assert world.told == [{"a": "requested"}, {"a": "requested"}, {"a": "approved"}]
    assert world.ids[0] == world.ids[1] != world.ids[2]
    assert world.sent[0] == world.sent[1]


async def test_a_process_that_dies_after_sending_sends_the_same_again_and_loses_nothing(make):
    world = make()
    world.asks("a")
    world.fails = [Killed()]
    with pytest.raises(Killed):
        await world.runs()
    world.moves("a", Verb.DENY, by="bea")
    world.asks("b", tool="other")
    world.channel = world.started()
    await world.runs(1)
    assert world.ids[0] == world.ids[1]
    assert world.told[:2] == [{"a": "requested"}] * 2
    assert {"b": "requested"} in world.told
    assert {"a": "denied"} in world.told
    assert len(world.told) == 4


async def test_a_channel_is_asked_again_ever_more_rarely_and_never_before_it_said(make):
    world = make()
    world.asks("a")
    world.fails = [Later("away")] * 8 + [Later("slow", after=1000.0)]
    began, waited = world.time, []
    while len(world.fails) > 1:
        before = len(world.fails)
        await world.runs(1)
        if len(world.fails) < before:
            waited.append(world.time - began)
            began = world.time
    assert waited[-1] > 20 * max(waited[1], 1)
    while world.fails:
        await world.runs(1)
    at = world.time
    await world.runs(998)
    assert world.sent == []
    while not world.sent:
        await world.runs(1)
    assert 1000 <= world.time - at <= 1002
    assert [method for method, _ in world.events].count("notification.failing") == 1


async def test_what_a_channel_refuses_or_a_day_did_not_deliver_is_given_up_and_said(make):
    world = make()
    world.asks("a")
    world.fails = [Never("the peer answered 400")]
    await world.runs()
    await world.runs(100)
    assert (world.sent, world.events[-1][0]) == ([], "notification.failed")
    world.asks("b", tool="other")
    world.fails = [Later("away")] * 2
    await world.runs()
    await world.runs(GIVE_UP_SECONDS + 1)
    assert [method for method, _ in world.events].count("notification.failed") == 2
    assert {one.state for one in world.notices.list(9)} == {"failed"}
    world.moves("b", Verb.DENY, by="bea")
    await world.runs(400)
    assert world.told == [{"b": "denied"}]  # something changed: it is tried again


async def test_an_agent_that_is_asked_too_often_is_told_of_and_that_it_is_lifted(make):
    world = make()
    world.approvals.freeze("shop-1", world.time)
    world.approvals.freeze("shop-2", world.time)
    await world.runs()
    await world.runs(5)
    world.approvals.lift("shop-1", world.time)
    await world.runs(1)
    world.approvals.freeze("shop-1", world.time + 1)
    await world.runs(2)
    found = [(m.agent, one.stage) for m, _ in world.sent for one in m.subjects]
    assert sorted(found[:2]) == [("shop-1", "frozen"), ("shop-2", "frozen")]
    assert found[2:] == [("shop-1", "lifted"), ("shop-1", "frozen")]


async def test_what_the_log_cannot_take_now_is_said_later(make):
    world = make()
    world.asks("a")
    world.full, world.fails = True, [Later("away")]
    await world.runs()
    world.full = False
    await world.runs(10)
    assert [method for method, _ in world.events] == [
        "notification.failing",
        "notification.recovered",
    ]


async def test_a_fault_of_ours_is_tried_again_with_patience(make):
    world = make()
    world.asks("a")
    world.fails = [ValueError("a bug")] * 3
    for _ in range(10):
        await world.runs(0.1)
    assert 1 <= len(world.fails) <= 2
    await world.runs(100)
    await world.runs(100)
    await world.runs(100)
    assert set(world.ids) == {world.ids[0]}
    assert world.channel.state.sent == 1


async def test_what_is_long_over_is_forgotten_and_what_waits_is_not(make):
    world = make()
    world.asks("a")
    world.asks("b", tool="other")
    world.approvals.freeze("shop-1", world.time)
    await world.runs()
    world.moves("a", Verb.EXPIRE)
    await world.runs(1)
    world.approvals.forget(world.time + 1)
    world.notices.forget(world.time + 1, {"ops"})
    assert world.notices.following("ops", "frozen:") == ("frozen:shop-1",)
    count = len(world.sent)
    await world.runs(1)
    assert len(world.sent) == count
    assert world.notices.list(9) == ()


async def test_a_damaged_approval_keeps_no_other_from_being_told(make):
    world = make()
    world.asks("a")
    world.asks("b", tool="other")
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE approvals SET risk = 'odd' WHERE id = 'a'")
    await world.runs()
    assert world.told == [{"b": "requested"}]


async def test_a_clock_that_is_set_back_silences_nobody_and_nothing_is_tried_for_ever(make):
    month = 30 * 86_400
    world = make()
    world.asks("a")
    world.fails = [Later("away")]
    await world.runs()
    world.time -= month
    world.channel = world.started()  # monotonic time, which is the same here, goes on
    world.asks("b")
    await world.runs()
    assert {"a": "requested"} in world.told
    assert {"b": "requested"} in world.told  # and not under the notice of a month ahead
    world.asks("c", tool="other")
    world.fails = [Later("away")] * 2
    await world.runs()
    (waits,) = (one for one in world.notices.list(9) if one.state == "due")
    failed = {"attempts": GIVE_UP_ATTEMPTS - 1, "due_since": world.time + month}
    world.notices.change(waits.id, lambda one: msgspec.structs.replace(one, **failed))
    await world.runs(400)
    assert world.events[-1][0] == "notification.failed"


async def test_details_that_are_switched_off_are_not_told_of_what_was_due_already(make):
    both = {"details": ["operator", "reason"]}
    world = make(**both)
    for name in "ab":
        world.asks(name, tool=name)
    await world.runs()
    world.moves("a", Verb.DENY, by="bea", reason="Jane Roe phoned")
    world.fails = [Later("no answer", arrived=True)]
    await world.runs(1)  # a draft that says it is on its way
    world.moves("b", Verb.DENY, by="bea", reason="Jane Roe phoned")
    await world.channel.look()
    count = len(world.sent)
    world.again()
    await world.runs(400)
    new = [one for message, _ in world.sent[count:] for one in message.subjects]
    assert {one.id for one in new} == {"a", "b"}
    assert {(one.stage, one.by, one.reason) for one in new} == {("denied", "", "")}
    assert len(set(world.ids)) == len(world.ids)  # no id stands for two bodies
    assert world.notices.waiting("ops") == 0


async def test_a_narrower_channel_is_told_how_what_it_knows_ended_and_nothing_else(make):
    world = make()
    world.asks("a")
    world.approvals.freeze("shop-9", world.time)
    await world.runs()
    world.asks("late", tool="late")
    await world.channel.look()
    world.again(risks=["delete"], agents=["shop-1"])
    world.asks("b", tool="other")
    world.moves("a", Verb.DENY, by="bea")
    await world.runs(1)
    assert world.told[-1] == {"a": "denied"}
    assert all({"late", "b"}.isdisjoint(one) for one in world.told)
    assert "lifted" not in str(world.told)
    assert world.notices.waiting("ops") == 0


async def test_what_is_due_on_a_channel_that_is_gone_is_forgotten(make):
    world = make()
    world.asks("a")
    world.approvals.freeze("shop-1", world.time)
    await world.channel.look()
    world.notices.forget(world.time + 1, {"ops"})
    assert len(world.notices.list(9)) == 2
    world.notices.forget(world.time + 1, {"other"})
    assert world.notices.list(9) == ()
    assert world.notices.following("ops", "frozen:") == ()


async def test_a_name_that_leads_elsewhere_now_does_not_pass_on_what_the_former_place_said(make):
    slack = {"kind": "slack", "token": "env:T"}
    world = make()
    world.asks("a")
    await world.runs()
    world.again(**slack, channel="C1")
    world.approvals.mark(["a"], "reminded", world.time)
    await world.runs(1)
    world.again(**slack, channel="C2")
    world.approvals.mark(["a"], "escalated", world.time)
    await world.runs(1)
    world.moves("a", Verb.APPROVE, by="bea")
    await world.runs(1)
    assert [reference for _, reference in world.sent] == ["", "", "", "ref-1"]


async def test_the_gravest_is_told_first_however_many_others_wait(make):
    world = make(per_minute=1)
    for number in range(70):
        world.asks(f"n{number}", tool=f"tool{number}", risk=RiskClass.READ)
    await world.channel.look()
    await world.channel.look()
    for number in range(70):
        world.asks(f"m{number}", tool=f"other{number}", risk=RiskClass.MODIFY)
    world.time += 1
    world.asks("sent", agent="shop-2")
    world.asks("grave", agent="shop-2", risk=RiskClass.DELETE)
    await world.channel.look()
    await world.runs()
    await world.runs(61)
    assert world.told == [{"grave": "requested"}, {"sent": "requested"}]


async def test_many_damaged_approvals_keep_no_other_from_being_told(make):
    world = make()
    for number in range(70):
        world.asks(f"d{number}")
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE approvals SET risk = 'odd'")
    world.time += 1
    world.asks("good")
    await world.runs()
    assert world.told == [{"good": "requested"}]


async def test_what_is_asked_and_decided_while_a_delivery_hangs_is_told(make):
    world = make()
    world.asks("a")
    hangs = asyncio.Event()

    async def slow(message, reference):
        await hangs.wait()
        world.sent.append((message, reference))
        return "ref-1"

    async def until(wanted):
        end = time.monotonic() + 10
        while not wanted():
            assert time.monotonic() < end
            await asyncio.sleep(0.02)

    world.tell = slow
    running = asyncio.create_task(world.channel.run())
    try:
        await until(lambda: world.notices.told("ops", "a"))
        world.asks("quick", tool="wire")
        await until(lambda: world.notices.told("ops", "quick"))
        world.moves("quick", Verb.APPROVE, by="mallory")
        hangs.set()
        await until(lambda: {"quick": "approved"} in world.told)
    finally:
        running.cancel()


async def test_the_name_of_what_is_no_tool_is_not_told_since_the_agent_writes_it(make):
    world = make()
    world.asks("a", tool="ApprovedBySecurity", action="model", server="openai")
    await world.runs()
    assert world.sent[0][0].name == "?"


async def test_a_change_while_a_message_is_refused_is_told(make):
    world = make()
    world.asks("a")

    async def refuse(*_):
        world.moves("a", Verb.DENY, by="bea")
        await world.channel.look()
        del world.tell
        raise Never("the peer answered 400")

    world.tell = refuse
    await world.runs()
    await world.runs(1)
    assert world.told == [{"a": "denied"}]


@pytest.mark.parametrize(
    "damage",
    [b"\xff{", "{", '{"risk": "delete"}', b"", b'{"id": "\xff"}', b'{"x": ' + b"[" * 100_000],
    ids=range(6),
)
async def test_a_damaged_notice_keeps_no_other_from_being_told_and_is_said_once(make, damage):
    world = make()
    world.asks("a")
    await world.channel.look()
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE notices SET document = ?", (damage,))
    world.moves("a", Verb.DENY, by="bea")  # it is under the damaged one
    world.asks("b")  # it would gather there
    world.asks("c", tool="other")
    with capture_logs() as said:
        await world.runs()
        await world.runs(100)
        assert len(world.notices.list(9)) >= 2
    told = {name for one in world.told for name in one}
    assert told >= {"b", "c"}
    assert [one["event"] for one in said].count("notice_damaged") == 1


async def test_a_log_that_fails_in_another_way_keeps_nothing_from_being_told(make):
    world = make()

    def broken(*_):
        raise ValueError("a bug")

    world.noticed, world.fails = broken, [Later("away")]
    world.channel = world.started()
    world.asks("a")
    running = asyncio.create_task(world.channel.run())
    try:
        end = time.monotonic() + 10
        while not world.sent:
            assert time.monotonic() < end
            world.time += 1
            await asyncio.sleep(0.02)
    finally:
        running.cancel()
    assert world.told == [{"a": "requested"}]
