"""If these fail, a legacy session is not its owner's alone, or a client is reached unjudged."""

import asyncio

import pytest

from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming

pytestmark = pytest.mark.anyio
CALL = {"id": 3, "method": "tools/call", "params": {"name": "read_order", "arguments": {}}}


async def test_session_id_is_the_gates_own_and_capabilities_are_only_those_served(gate):
    answer = await gate.legacy(
        None,
        {
            "id": 0,
            "method": "initialize",
            "params": {
                "protocolVersion": "2099-01-01",
                "capabilities": {},
                "clientInfo": {"name": "c", "version": "1"},
            },
        },
    )
    assert len(answer.headers["mcp-session-id"]) >= 40
    assert answer.json["result"]["capabilities"] == {"tools": {}}
    assert gate.channel.sent[0]["params"]["protocolVersion"] == "2025-11-25"


async def test_call_in_a_session_works_and_uses_one_channel_of_its_own(gate):
    session = await gate.begin()
    answer = await gate.legacy(session, CALL)
    assert answer.json == {
        "jsonrpc": "2.0",
        "id": 3,
        "result": {"content": [{"type": "text", "text": "done"}]},
    }
    assert list(gate.servers.opened) == [("orders", session, True)]
    assert gate.channel.headers[-1] == {"mcp-protocol-version": "2025-11-25"}


@pytest.mark.parametrize(
    ("agent", "session", "server"),
    [("a2", "s1", "orders"), ("a1", "s2", "orders"), ("a1", None, "orders"), ("a1", "s1", "crm")],
)
async def test_session_of_another_is_as_if_it_were_not_there(gate, agent, session, server):
    own = await gate.begin()
    for method in ("POST", "GET", "DELETE"):
        if method == "POST":
            answer = await gate.legacy(
                own, CALL, context=gate.context(agent, session), server=server
            )
        else:
            answer = await gate.http_call(
                method,
                headers=[("mcp-session-id", own), ("accept", "text/event-stream")],
                context=gate.context(agent, session),
                server=server,
            )
        assert answer.status == 404
        assert answer.json["error"]["data"]["code"] == "PC1035"
    assert "result" in (await gate.legacy(own, CALL)).json


async def test_unknown_and_missing_sessions_are_refused(gate):
    assert (await gate.legacy("guess", CALL)).status == 404
    assert (await gate.legacy(None, CALL)).status == 400
    assert not gate.servers.opened


async def test_failed_initialize_leaves_no_session(gate):
    gate.script["initialize"] = [{"error": {"code": -1, "message": "no"}}]
    answer = await gate.legacy(
        None,
        {
            "id": 0,
            "method": "initialize",
            "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}},
        },
    )
    assert answer.json["error"]["code"] == -1
    assert (await gate.legacy(answer.headers["mcp-session-id"], CALL)).status == 404
    assert gate.channel.closed


async def test_server_that_settles_on_an_unknown_version_is_refused(gate):
    gate.script["initialize"] = [{"result": {"protocolVersion": "2099-01-01"}}]
    answer = await gate.legacy(
        None,
        {
            "id": 0,
            "method": "initialize",
            "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}},
        },
    )
    assert answer.json["error"]["data"]["code"] == "PC5003"
    assert len(gate.conversations) == 0


async def test_delete_ends_the_session_and_what_it_holds(gate, hang):
    session = await gate.begin()
    answer = await gate.http_call("DELETE", headers=[("mcp-session-id", session)])
    assert answer.status == 200
    assert gate.channel.closed
    assert (await gate.legacy(session, CALL)).status == 404


async def test_idle_session_expires_and_its_channel_is_closed(gate):
    session = await gate.begin()
    gate.clock.time += 1801
    assert (await gate.legacy(session, CALL)).status == 404
    assert gate.channel.closed
    second = await gate.begin()
    gate.clock.time += 1801
    await gate.conversations.reap()
    assert len(gate.conversations) == 0
    assert second != session


async def test_busy_session_does_not_expire(gate, hang):
    session = await gate.begin()
    gate.script["tools/call"] = [hang]
    leave = asyncio.Event()
    task = asyncio.create_task(gate.legacy(session, CALL, leave=leave))
    await asyncio.sleep(0.02)
    gate.clock.time += 1801
    await gate.conversations.reap()
    assert len(gate.conversations) == 1
    leave.set()
    await task


async def test_one_agent_cannot_take_all_server_processes(make_gate):
    gate = make_gate(processes=8)
    mine = [await gate.begin(server="crm") for _ in range(3)]
    assert (await gate.legacy(mine[0], CALL, server="crm")).status == 404
    assert [channel.closed for channel in gate.servers.opened.values()] == [True, False, False]
    over_http = [await gate.begin() for _ in range(3)]
    assert "result" in (await gate.legacy(over_http[0], CALL)).json


async def test_one_agent_cannot_take_all_sessions(make_gate):
    gate = make_gate(mcp_sessions=8)
    mine = [await gate.begin() for _ in range(3)]
    assert (await gate.legacy(mine[0], CALL)).status == 404
    assert "result" in (await gate.legacy(mine[2], CALL)).json
    other = await gate.begin(context=gate.context("a2", "s2"))
    answer = await gate.legacy(other, CALL, context=gate.context("a2", "s2"))
    assert "result" in answer.json


async def test_version_other_than_settled_is_refused(gate):
    session = await gate.begin()
    answer = await gate.legacy(session, CALL, headers={"mcp-protocol-version": "2025-06-18"})
    assert (answer.status, answer.json["error"]["data"]["code"]) == (400, "PC1032")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"id": 5, "method": "server/discover"}, "PC1034"),
        ({"id": 5, "method": "tasks/list"}, "PC1034"),
        ({"id": 5, "method": "tools/call", "params": {"name": "x", "task": {}}}, "PC1021"),
        ({"id": 5, "method": "resources/read", "params": {}}, "PC1020"),
        (
            {"id": 5, "method": "prompts/get", "params": {"name": "p", "arguments": {"a": 1}}},
            "PC1020",
        ),
    ],
)
async def test_refusal_within_a_session_is_an_error_message_and_no_lost_session(
    gate, message, code
):
    session = await gate.begin()
    answer = await gate.legacy(session, message)
    assert answer.status == 200
    assert (answer.json["id"], answer.json["error"]["data"]["code"]) == (5, code)


async def test_cancellation_stops_the_call_under_the_servers_id(gate, hang):
    session = await gate.begin()
    gate.script["tools/call"] = [hang]
    task = asyncio.create_task(gate.legacy(session, CALL))
    await asyncio.sleep(0.02)
    note = {"method": "notifications/cancelled", "params": {"requestId": 3}}
    assert (await gate.legacy(session, note)).status == 202
    answer = await asyncio.wait_for(task, 2)
    assert answer.json["error"]["code"] == -32800
    assert gate.channel.left == ["tools/call"]
    assert not gate.channel.told


async def test_cancelling_anothers_request_id_does_nothing(gate, hang):
    session, other = await gate.begin(), await gate.begin()
    gate.script["tools/call"] = [hang]
    leave = asyncio.Event()
    task = asyncio.create_task(gate.legacy(session, CALL, leave=leave))
    await asyncio.sleep(0.02)
    note = {"method": "notifications/cancelled", "params": {"requestId": 3}}
    await gate.legacy(other, note)
    await asyncio.sleep(0.02)
    assert not task.done()
    leave.set()
    await task


async def test_request_id_is_used_once_at_a_time(gate, hang):
    session = await gate.begin()
    gate.script["tools/call"] = [hang]
    leave = asyncio.Event()
    task = asyncio.create_task(gate.legacy(session, CALL, leave=leave))
    await asyncio.sleep(0.02)
    answer = await gate.legacy(session, CALL)
    assert answer.json["error"]["data"]["code"] == "PC1030"
    leave.set()
    await task


async def test_notifications_pass_judged(gate):
    session = await gate.begin()
    note = {"method": "notifications/roots/list_changed"}
    assert (await gate.legacy(session, note)).status == 202
    assert gate.channel.told == [{"jsonrpc": "2.0"} | note]
    gate.policy.denied = {"notifications/roots/list_changed"}
    assert (await gate.legacy(session, note)).status == 403
    assert len(gate.channel.told) == 1


async def test_get_stream_passes_on_and_resumes_with_ids_of_this_session_only(gate):
    session = await gate.begin()
    live = gate.answer()
    task = asyncio.create_task(_listen(gate, session, live))
    note = {"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"}
    await gate.channel.listening.put(Incoming(message=note, event_id="up-1"))
    assert await live.message(0) == note
    await gate.channel.listening.put(None)
    await task
    assert live.ended
    token = live.events[0][1]
    assert token not in {"up-1", None}
    live = gate.answer()
    task = asyncio.create_task(_listen(gate, session, live, ("last-event-id", token)))
    await gate.channel.listening.put(Incoming(message=note, event_id="up-2"))
    await live.message(0)
    assert gate.channel.listened == [None, "up-1"]
    await gate.channel.listening.put(None)
    await task
    other = await gate.begin()
    for stolen in (token, "up-1"):
        answer = await _listen(gate, other, gate.answer(), ("last-event-id", stolen))
        assert (answer.status, answer.json["error"]["data"]["code"]) == (400, "PC1037")


async def test_get_stream_shows_itself_and_a_new_one_takes_its_place(gate, eventually):
    session = await gate.begin()
    first, second = gate.answer(), gate.answer()
    one = asyncio.create_task(_listen(gate, session, first))
    await eventually(lambda: first.status == 200)
    two = asyncio.create_task(_listen(gate, session, second))
    await asyncio.wait_for(one, 2)
    assert first.ended
    await eventually(lambda: second.status == 200)
    await gate.http_call("DELETE", headers=[("mcp-session-id", session)])
    await asyncio.wait_for(two, 2)


async def test_server_without_a_stream_is_told_as_405(gate):
    session = await gate.begin()
    await gate.channel.listening.put(None)
    answer = await _listen(gate, session, gate.answer())
    assert answer.status == 405


async def test_cut_off_agent_loses_its_get_stream(gate, eventually):
    session = await gate.begin()
    live = gate.answer()
    task = asyncio.create_task(_listen(gate, session, live))
    await eventually(lambda: live.status == 200)
    gate.policy.cut = "killed"
    await asyncio.wait_for(task, 2)
    assert live.ended
    assert "PC4001" in gate.codes()


async def test_lost_server_ends_the_session(gate):
    session = await gate.begin()
    gate.script["tools/call"] = [Problem("PC5011", "the process died")]
    assert (await gate.legacy(session, CALL)).json["error"]["data"]["code"] == "PC5011"
    assert (await gate.legacy(session, CALL)).status == 404
    assert gate.channel.closed


async def test_modern_body_under_a_legacy_header_is_refused(gate):
    session = await gate.begin()
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    answer = await gate.legacy(
        session, {"id": 1, "method": "tools/list", "params": {"_meta": meta}}
    )
    assert (answer.status, answer.json["error"]["code"]) == (400, -32020)


async def test_everything_open_ends_with_the_gate(gate, hang):
    session = await gate.begin()
    gate.script["tools/call"] = [hang]
    task = asyncio.create_task(gate.legacy(session, CALL))
    await asyncio.sleep(0.02)
    await gate.conversations.close()
    answer = await asyncio.wait_for(task, 2)
    assert answer.json["error"]["data"]["code"] == "PC5014"
    assert all(channel.closed for channel in gate.servers.opened.values())


async def test_listening_ends_with_the_credential_and_the_client_comes_again(gate):
    session = await gate.begin()
    live = gate.answer()
    short = gate.context(ttl=60)
    task = asyncio.create_task(_listen(gate, session, live, context=short))
    await asyncio.sleep(0.03)
    gate.clock.time += 61
    await asyncio.wait_for(task, 2)
    assert live.ended
    assert gate.codes() == ["PC2003"]


async def _listen(gate, session, live, *headers, context=None):
    sent = [("mcp-session-id", session), ("accept", "text/event-stream"), *headers]
    return await gate.http_call("GET", headers=sent, answer=live, context=context)
