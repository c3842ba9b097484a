"""If these fail, a server reaches an agent's client, or another's, with what it asks."""

import asyncio

import pytest

from portcullis.core.ports import Incoming
from portcullis.gateway.mcp_stream import MAX_REQUESTS

pytestmark = pytest.mark.anyio
SAMPLING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "sampling/createMessage",
    "params": {"messages": [], "maxTokens": 5},
}
CALL = {"id": 3, "method": "tools/call", "params": {"name": "read_order", "arguments": {}}}


async def test_a_flood_of_a_servers_requests_ends_the_call_and_neither_log_nor_client(gate):
    session = await gate.begin()
    asking = {"jsonrpc": "2.0", "id": "same", "method": "roots/list"}
    gate.script["tools/call"] = [asking] * (MAX_REQUESTS + 1) + [{"result": {"content": []}}]
    answer = await gate.legacy(session, CALL)
    assert answer.messages[-1]["error"]["data"]["code"] == "PC5003"
    assert len(answer.messages) == MAX_REQUESTS + 1
    assert gate.channel.left == ["tools/call"]


async def test_servers_request_is_judged_renamed_and_answered_once(gate):
    session = await gate.begin()
    answered = asyncio.Event()
    gate.script["tools/call"] = [SAMPLING, _until(answered), {"result": {"content": []}}]
    live = gate.answer()
    task = asyncio.create_task(gate.legacy(session, CALL, answer=live))
    asked = await live.message(0)
    assert asked["method"] == "sampling/createMessage"
    assert asked["id"] != SAMPLING["id"]
    assert len(asked["id"]) == 32
    reply = {"id": asked["id"], "result": {"role": "assistant", "model": "m", "content": {}}}
    assert (await gate.legacy(session, reply)).status == 202
    assert gate.channel.told[-1] == {"jsonrpc": "2.0", "id": 1, "result": reply["result"]}
    twice = await gate.legacy(session, reply)
    assert (twice.status, twice.json["error"]["data"]["code"]) == (400, "PC1036")
    answered.set()
    await task
    assert live.messages[-1]["result"] == {"content": []}
    asks = [e for e in gate.journal.events if e.action == "server_request"]
    assert [(e.type, e.name) for e in asks] == [
        ("decision", "sampling/createMessage"),
        ("result", "sampling/createMessage"),
    ]


@pytest.mark.parametrize("guess", [1, "1", "forged", None])
async def test_client_cannot_answer_what_was_not_asked(gate, guess):
    session = await gate.begin()
    message = {"id": guess, "error": {"code": 1, "message": "no"}}
    answer = await gate.legacy(session, message)
    assert (answer.status, answer.json["error"]["data"]["code"]) == (400, "PC1036")
    assert not gate.channel.told


async def test_session_cannot_answer_for_another_session(gate):
    session, other = await gate.begin(), await gate.begin()
    channel = gate.servers.opened[("orders", session, True)]
    live = gate.answer()
    task = asyncio.create_task(_listen(gate, session, live))
    await channel.listening.put(Incoming(message=SAMPLING))
    asked = await live.message(0)
    answer = await gate.legacy(other, {"id": asked["id"], "result": {}})
    assert answer.status == 400
    assert not channel.told
    await channel.listening.put(None)
    await task


async def test_an_answer_is_known_by_the_calls_that_may_have_asked(gate):
    session = await gate.begin()
    answered, live, heard = asyncio.Event(), gate.answer(), gate.answer()
    gate.script["tools/call"] = [SAMPLING, _until(answered), {"result": {"content": []}}]
    listening = asyncio.create_task(_listen(gate, session, heard))
    await gate.channel.listening.put(Incoming(message=SAMPLING | {"id": 2}))
    await heard.message(0)
    calling = asyncio.create_task(gate.legacy(session, CALL, answer=live))
    await live.message(0)
    await gate.channel.listening.put(Incoming(message=SAMPLING | {"id": 3}))
    await heard.message(1)
    asked = [call for call in gate.policy.seen if call.name == "sampling/createMessage"]
    assert [[one.name for one in call.within] for call in asked] == [
        ["listen"],
        ["read_order"],
        ["read_order"],
    ]
    answered.set()
    await gate.channel.listening.put(None)
    await asyncio.gather(calling, listening)


async def test_a_client_tells_progress_only_of_what_waits_and_under_its_token(gate):
    session = await gate.begin()
    answered, live = asyncio.Event(), gate.answer()
    meta = {"_meta": {"progressToken": 7}}
    asking = SAMPLING | {"params": SAMPLING["params"] | meta}
    gate.script["tools/call"] = [asking, _until(answered), {"result": {"content": []}}]

    async def tell(token):
        params = {"progressToken": token, "progress": 1}
        said = {"method": "notifications/progress", "params": params}
        assert (await gate.legacy(session, said)).status == 202
        return [one["params"]["progressToken"] for one in gate.channel.told if "id" not in one]

    assert await tell(7) == []
    task = asyncio.create_task(gate.legacy(session, CALL, answer=live))
    asked = await live.message(0)
    for token in ("the secret", "7", 8):
        assert await tell(token) == []
    assert await tell(7) == [7]
    await gate.legacy(session, {"id": asked["id"], "result": {}})
    assert await tell(7) == [7]
    answered.set()
    await task


async def test_a_client_sets_a_level_of_the_protocols_and_says_nothing_else(gate):
    session = await gate.begin()
    level = {"id": 5, "method": "logging/setLevel"}
    answer = await gate.legacy(session, level | {"params": {"level": "the secret"}})
    assert answer.json["error"]["data"]["code"] == "PC1020"
    assert "logging/setLevel" not in str(gate.channel.sent)
    answer = await gate.legacy(session, level | {"params": {"level": "warning"}})
    assert "result" in answer.json


async def test_a_progress_is_known_by_its_call_and_a_message_may_be_of_any(gate, monkeypatch):
    judge, seen = gate.policy.judge_result, []

    def note(call, *rest):
        seen.append((call.name, [one.name for one in call.within]))
        return judge(call, *rest)

    monkeypatch.setattr(gate.policy, "judge_result", note)
    session, heard = await gate.begin(), gate.answer()
    listening = asyncio.create_task(_listen(gate, session, heard))
    log = {"jsonrpc": "2.0", "method": "notifications/message"}
    log |= {"params": {"level": "info", "data": "x"}}

    def progress(message):
        token = message["params"]["_meta"]["progressToken"]
        params = {"progressToken": token, "progress": 1, "message": "half"}
        return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}

    def steps(message):
        async def elsewhere():
            await gate.channel.listening.put(Incoming(message=progress(message)))
            await heard.message(0)

        return [log, progress(message), elsewhere, {"result": {"content": []}}]

    gate.script["tools/call"] = steps
    params = CALL["params"] | {"_meta": {"progressToken": "mine"}}
    await gate.legacy(session, CALL | {"params": params})
    assert [one for one in seen if one[0].startswith("notifications/")] == [
        ("notifications/message", []),
        ("notifications/progress", ["read_order"]),
        ("notifications/progress", ["read_order"]),
    ]
    await gate.channel.listening.put(None)
    await listening


async def test_what_a_server_says_to_nobody_is_not_judged_as_heard(gate):
    gate.policy.withheld = {"notifications/message"}
    log = {"jsonrpc": "2.0", "method": "notifications/message"}
    gate.script["initialize"].insert(0, log | {"params": {"level": "info", "data": "x"}})
    await gate.begin()
    assert gate.codes() == []


async def test_denied_request_of_a_server_is_answered_by_the_gate(gate):
    gate.policy.denied = {"sampling/createMessage"}
    session = await gate.begin()
    gate.script["tools/call"] = [SAMPLING, {"result": {"content": []}}]
    answer = await gate.legacy(session, CALL)
    assert b"sampling" not in answer.body
    told = gate.channel.told[-1]
    assert told["id"] == 1
    assert told["error"]["data"]["code"] == "PC3002"


async def test_unknown_request_of_a_server_is_answered_by_the_gate(gate):
    session = await gate.begin()
    shout = {"jsonrpc": "2.0", "id": 9, "method": "shell/run", "params": {"cmd": "x"}}
    gate.script["tools/call"] = [shout, {"result": {"content": []}}]
    answer = await gate.legacy(session, CALL)
    assert "result" in answer.json
    assert gate.channel.told[-1]["error"]["code"] == -32601
    assert gate.codes() == ["PC1034"]


async def test_withheld_answer_of_a_client_becomes_an_error_for_the_server(gate):
    gate.policy.withheld = {"roots/list"}
    session = await gate.begin()
    live = gate.answer()
    task = asyncio.create_task(_listen(gate, session, live))
    ask = {"jsonrpc": "2.0", "id": "r", "method": "roots/list"}
    await gate.channel.listening.put(Incoming(message=ask))
    asked = await live.message(0)
    answer = await gate.legacy(session, {"id": asked["id"], "result": {"roots": ["secret"]}})
    assert answer.status == 403
    assert gate.channel.told[-1]["error"]["data"]["code"] == "PC3012"
    await gate.channel.listening.put(None)
    await task


async def test_unanswered_request_of_a_server_is_accounted_for_when_the_session_ends(gate):
    session = await gate.begin()
    gate.script["tools/call"] = [SAMPLING, {"result": {"content": []}}]
    await gate.legacy(session, CALL)
    await gate.http_call("DELETE", headers=[("mcp-session-id", session)])
    failed = [e for e in gate.journal.events if e.verdict == "error"]
    assert [(e.action, e.code) for e in failed] == [("server_request", "PC5014")]


async def test_server_cannot_flood_the_client_with_requests(gate):
    session = await gate.begin()
    flood = [SAMPLING | {"id": number} for number in range(70)]
    gate.script["tools/call"] = [*flood, {"result": {"content": []}}]
    answer = await gate.legacy(session, CALL)
    assert len([m for m in answer.messages if "method" in m]) == 64
    assert len(gate.channel.told) == 6


def _until(event):
    async def step():
        await event.wait()

    return step


async def _listen(gate, session, live, *headers, context=None):
    sent = [("mcp-session-id", session), ("accept", "text/event-stream"), *headers]
    return await gate.http_call("GET", headers=sent, answer=live, context=context)
