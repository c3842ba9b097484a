"""If these fail, a call or a stream outlives its client, its session or its caller's rights."""

import asyncio

import pytest

pytestmark = pytest.mark.anyio
PROGRESS = {
    "jsonrpc": "2.0",
    "method": "notifications/message",
    "params": {"level": "info", "data": "half"},
}


def call(tool="read_order", **arguments):
    return {"name": tool, "arguments": arguments}


async def test_client_that_leaves_cancels_the_call_upstream_and_the_event_is_written(gate, hang):
    gate.script["tools/call"] = [hang]
    leave = asyncio.Event()
    task = asyncio.create_task(gate.modern("tools/call", call(), leave=leave))
    await asyncio.sleep(0.03)
    leave.set()
    await task
    assert gate.channel.left == ["tools/call"]
    assert gate.journal.events[-1].code == "PC5014"
    assert gate.journal.events[-1].type == "tool_result"


async def test_aborted_handler_cancels_the_call_upstream_too(gate, hang):
    gate.script["tools/call"] = [hang]
    task = asyncio.create_task(gate.modern("tools/call", call()))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.channel.left == ["tools/call"]
    assert gate.codes() == ["PC5014"]


async def test_cut_off_agent_loses_a_silent_stream(gate, hang):
    gate.script["tools/call"] = [PROGRESS, hang]
    task = asyncio.create_task(gate.modern("tools/call", call()))
    await asyncio.sleep(0.03)
    gate.policy.cut = "killed"
    answer = await asyncio.wait_for(task, 2)
    assert answer.messages[-1]["error"]["data"]["code"] == "PC4001"
    assert gate.channel.left == ["tools/call"]
    assert gate.codes() == ["PC4001"]


async def test_cut_off_agent_does_not_even_start_a_server(gate):
    gate.policy.cut = "killed"
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == "PC4001"
    assert not gate.servers.opened


async def test_nothing_is_asked_of_a_server_for_an_agent_that_may_not_use_it(gate):
    gate.policy.denied = {"tools", "read_order"}
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == "PC3002"
    assert not gate.servers.opened
    assert gate.codes() == ["PC3002"]


async def test_call_that_was_admitted_may_outlive_its_credential_which_is_renewed(gate):
    go = asyncio.Event()
    gate.script["tools/call"] = [PROGRESS, go.wait, {"result": {"content": []}}]
    task = asyncio.create_task(gate.modern("tools/call", call(), context=gate.context(ttl=60)))
    await asyncio.sleep(0.03)
    gate.clock.time += 61
    await asyncio.sleep(0.03)
    go.set()
    answer = await asyncio.wait_for(task, 2)
    assert answer.messages[-1]["result"] == {"content": []}


async def test_call_does_not_outlive_its_session(gate, hang):
    gate.script["tools/call"] = [hang]
    task = asyncio.create_task(gate.modern("tools/call", call()))
    await asyncio.sleep(0.03)
    gate.clock.time += 7201
    answer = await asyncio.wait_for(task, 2)
    assert answer.json["error"]["data"]["code"] == "PC2006"


async def test_cut_reaches_a_silent_call_at_once(make_gate, hang):
    gate = make_gate()
    gate.http._tick = 60.0  # nobody looks at what runs
    gate.script["tools/call"] = [PROGRESS, hang]
    task = asyncio.create_task(gate.modern("tools/call", call()))
    await asyncio.sleep(0.03)
    gate.policy.cut = "killed"
    gate.live.sweep()
    answer = await asyncio.wait_for(task, 0.2)
    assert answer.messages[-1]["error"]["data"]["code"] == "PC4001"
    assert gate.channel.left == ["tools/call"]
    assert [(e.type, e.code) for e in gate.journal.events if e.code] == [("tool_result", "PC4001")]


async def test_client_that_does_not_read_is_given_up(make_gate, hang):
    gate = make_gate(idle_seconds=0.05)
    gate.script["tools/call"] = [PROGRESS, hang]
    await asyncio.wait_for(gate.modern("tools/call", call(), stuck=True), 2)
    assert gate.channel.left == ["tools/call"]
    assert gate.codes() == ["PC5014"]
