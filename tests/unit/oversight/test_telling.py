"""If these fail, nobody hears of a call that waits; or everybody hears of it again and again."""

import pytest

from channels import worlds
from portcullis.core.approval import Verb
from portcullis.core.call import RiskClass
from portcullis.core.notice_ports import Later
from portcullis.oversight.notices import (
    GATHER_SECONDS,
    MOST,
)
from portcullis.oversight.telling import AMENDING_SECONDS, FOLLOWING_SECONDS

pytestmark = pytest.mark.anyio


@pytest.fixture
def make(tmp_path):
    with worlds(tmp_path) as made:
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


async def test_the_name_of_what_is_no_tool_is_not_told_since_the_agent_writes_it(make):
    world = make()
    world.asks("a", tool="ApprovedBySecurity", action="model", server="openai")
    await world.runs()
    assert world.sent[0][0].name == "?"
