"""If these fail, what a channel or the log did not take is lost, or told for ever."""

import asyncio
import time

import pytest

from channels import Killed, worlds
from portcullis.core.approval import Verb
from portcullis.core.notice_ports import Later, Never
from portcullis.oversight.notices import (
    GIVE_UP_SECONDS,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def make(tmp_path):
    with worlds(tmp_path) as made:
        yield made


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


async def test_a_channel_that_is_woken_as_it_ends_ends(make):
    world = make()
    for _ in range(3):
        running = asyncio.create_task(world.channel.run())
        await asyncio.sleep(0.1)
        world.channel.wake()
        await asyncio.sleep(0)  # what it waited for is there, and it has not run yet
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=2)
        assert done
