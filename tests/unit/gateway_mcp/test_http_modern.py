"""If these fail, a modern MCP client is not served, or something passes that was not decided on."""

import asyncio
import itertools
import json

import pytest

from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio
PROGRESS = {
    "jsonrpc": "2.0",
    "method": "notifications/message",
    "params": {"level": "info", "data": "half"},
}


def call(tool="read_order", **arguments):
    return {"name": tool, "arguments": arguments}


async def test_allowed_call_reaches_the_server_as_decided_and_is_answered_under_its_id(gate):
    answer = await gate.modern("tools/call", call(id="1"))
    assert answer.status == 200
    assert answer.json["id"] == 7
    assert answer.json["result"]["content"][0]["text"] == "done"
    sent = gate.channel.last("tools/call")
    assert sent["params"]["arguments"] == {"id": "1"}
    assert gate.policy.seen[-1].payload == sent
    assert gate.channel.headers[-1] == {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "read_order",
    }
    kinds = [event.type for event in gate.journal.events]
    assert kinds == ["tool_call", "tool_result"]


async def test_denied_tool_never_reaches_the_server(gate):
    gate.policy.denied = {"drop_table"}
    answer = await gate.modern("tools/call", call("drop_table"))
    assert answer.json["error"]["data"]["code"] == "PC3002"
    assert answer.json["error"]["code"] == -32003
    assert all(message["method"] == "tools/list" for message in gate.channel.sent)
    assert gate.codes() == ["PC3002"]


async def test_tools_are_listed_once_before_the_first_call_over_all_pages(gate):
    pages = {None: {"tools": [], "nextCursor": "2"}, "2": gate.script["tools/list"][0]["result"]}
    gate.script["tools/list"] = lambda m: [{"result": pages[m["params"].get("cursor")]}]
    await gate.modern("tools/call", call())
    await gate.modern("tools/call", call())
    methods = [message["method"] for message in gate.channel.sent]
    assert methods == ["tools/list", "tools/list", "tools/call", "tools/call"]
    assert gate.shelf.learned == 1
    assert set(gate.shelf.tools["orders"]) == {"read_order", "drop_table", "routed"}


@pytest.mark.parametrize(
    "tools",
    [[{"name": "x"}], [{"inputSchema": {}}], ["x"], "x", [{"name": "a", "inputSchema": {}}] * 2],
)
async def test_nothing_is_called_on_a_server_whose_tools_cannot_be_understood(gate, tools):
    gate.script["tools/list"] = [{"result": {"tools": tools}}]
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == "PC5003"
    assert gate.codes() == ["PC5003"]
    assert gate.channel.sent[-1]["method"] == "tools/list"


async def test_endless_tool_pages_are_cut(gate):
    gate.script["tools/list"] = [{"result": {"tools": [], "nextCursor": "again"}}]
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == "PC5003"


async def test_a_server_that_notifies_for_ever_instead_of_listing_its_tools_is_left(gate):
    gate.script["tools/list"] = lambda _: itertools.repeat(PROGRESS)
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == "PC5003"
    assert [message["method"] for message in gate.channel.sent] == ["tools/list"]
    assert gate.channel.left == ["tools/list"]


async def test_a_server_that_never_lists_its_tools_holds_no_call_for_longer_than_a_request(
    make_gate,
):
    gate = make_gate(request_seconds=0.1)

    async def drip():
        await asyncio.sleep(0.01)

    gate.script["tools/list"] = lambda _: itertools.cycle([drip, PROGRESS])
    async with asyncio.timeout(5):
        answer = await gate.modern("tools/call", call())
    assert answer.messages[-1]["error"]["data"]["code"] == "PC5002"
    assert gate.channel.left == ["tools/list"]


async def test_list_shows_only_what_may_be_called_and_is_not_cacheable_by_others(gate):
    gate.policy.denied = {"drop_table"}
    shared = {"cacheScope": "public", "ttlMs": 60000}
    gate.script["tools/list"] = [{"result": gate.script["tools/list"][0]["result"] | shared}]
    result = (await gate.modern("tools/list")).json["result"]
    assert [tool["name"] for tool in result["tools"]] == ["read_order", "routed"]
    assert (result["cacheScope"], result["ttlMs"]) == ("private", 0)
    assert "drop_table" in gate.shelf.tools["orders"]


async def test_changed_tools_are_asked_for_again(gate):
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    await gate.modern("tools/list")
    assert gate.shelf.known("orders")
    gate.script["subscriptions/listen"] = [changed, {"result": {}}]
    await gate.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert not gate.shelf.known("orders")


@pytest.mark.parametrize(
    ("headers", "code", "rpc"),
    [
        ({"mcp-method": "tools/list"}, "PC1032", -32020),
        ({"mcp-method": None}, "PC1032", -32020),
        ({"mcp-name": "drop_table"}, "PC1032", -32020),
        ({"mcp-name": None}, "PC1032", -32020),
        ({"mcp-name": "=?base64?!?="}, "PC1032", -32020),
        ({"mcp-protocol-version": None}, "PC1032", -32020),
        ({"mcp-protocol-version": "2025-11-25"}, "PC1032", -32020),
        ({"mcp-protocol-version": "2099-01-01"}, "PC1032", -32020),
    ],
)
async def test_headers_that_say_something_else_than_the_body_are_refused(gate, headers, code, rpc):
    answer = await gate.modern("tools/call", call(), headers=headers)
    assert answer.status == 400
    assert (answer.json["error"]["data"]["code"], answer.json["error"]["code"]) == (code, rpc)
    assert answer.json["id"] == 7
    assert not gate.servers.opened
    assert gate.codes() == [code]


async def test_mirrored_parameter_must_match_the_body_and_is_computed_for_the_server(gate):
    params = call("routed", region="eu")
    good = await gate.modern("tools/call", params, headers={"mcp-param-region": "eu"})
    assert "result" in good.json
    assert gate.channel.headers[-1]["mcp-param-region"] == "eu"
    for value in ("us", None):
        bad = await gate.modern("tools/call", params, headers={"mcp-param-region": value})
        assert (bad.status, bad.json["error"]["code"]) == (400, -32020)
    assert len([m for m in gate.channel.sent if m["method"] == "tools/call"]) == 1


async def test_headers_do_not_tell_which_tools_there_are_that_are_not_allowed(gate):
    await gate.modern("tools/call", call())  # the gate knows the tools now
    gate.policy.denied = {"routed", "missing"}
    answers = [await gate.modern("tools/call", call(name)) for name in ("routed", "missing")]
    assert {answer.json["error"]["data"]["code"] for answer in answers} == {"PC3002"}


async def test_unknown_version_is_told_which_are_spoken(gate):
    version = "2099-01-01"
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    answer = await gate.modern(
        "tools/list", {"_meta": meta}, headers={"mcp-protocol-version": version}
    )
    error = answer.json["error"]
    assert (answer.status, error["code"]) == (400, -32022)
    assert error["data"]["requested"] == version
    assert "2026-07-28" in error["data"]["supported"]


@pytest.mark.parametrize(
    ("method", "params", "status", "code"),
    [
        ("tools/shout", {}, 404, "PC1034"),
        ("tasks/get", {"taskId": "1"}, 404, "PC1034"),
        ("initialize", {}, 404, "PC1034"),
        ("ping", {}, 404, "PC1034"),
        ("tools/call", {"name": "x", "task": {}}, 400, "PC1021"),
        ("tools/call", {"name": "x", "arguments": []}, 400, "PC1020"),
        ("tools/list", {"_meta": {}}, 400, "PC1020"),
        ("subscriptions/listen", {"notifications": {"all": True}}, 400, "PC1021"),
    ],
)
async def test_unknown_methods_and_fields_are_refused_precisely(gate, method, params, status, code):
    answer = await gate.modern(method, params)
    assert (answer.status, answer.json["error"]["data"]["code"]) == (status, code)
    assert gate.codes() == [code]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[]", 400, "PC1031"),
        (b"{", 400, "PC1001"),
        (b'{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}', 400, "PC1003"),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', 400, "PC1030"),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', 400, "PC1030"),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', 400, "PC1030"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', 400, "PC1030"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}', 400, "PC1030"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', 400, "PC1030"),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', 400, "PC1036"),
    ],
)
async def test_what_is_no_message_is_refused(gate, body, status, code):
    headers = gate.headers({"method": "ping"})
    answer = await gate.http_call("POST", body, headers)
    assert (answer.status, answer.json["error"]["data"]["code"]) == (status, code)


async def test_get_and_delete_have_no_place_in_the_modern_era(gate):
    for method in ("GET", "DELETE", "PUT"):
        answer = await gate.http_call(method)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_client_must_accept_both_answers(gate):
    answer = await gate.modern("tools/list", headers={"accept": "application/json"})
    assert answer.status == 406


async def test_unknown_server_is_not_opened(gate):
    answer = await gate.modern("tools/list", server="secret")
    assert answer.status == 404
    assert not gate.servers.opened


async def test_known_notifications_are_taken_and_end_here(gate):
    for method, status in (("notifications/cancelled", 202), ("notifications/shout", 404)):
        message = {"jsonrpc": "2.0", "method": method, "params": {"requestId": 1}}
        answer = await gate.http_call("POST", json.dumps(message).encode(), gate.headers(message))
        assert answer.status == status
    assert not gate.servers.opened


async def test_whoever_is_cut_off_is_told_so_by_a_notification_too(gate):
    gate.policy.cut = "killed"
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    answer = await gate.http_call("POST", json.dumps(message).encode(), gate.headers(message))
    assert answer.status == 403
    assert [event.code for event in gate.journal.events] == ["PC4001"]


async def test_notifications_come_as_events_before_the_answer(gate):
    token = {"_meta": gate_meta(progressToken="mine")}

    def script(message):
        theirs = message["params"]["_meta"]["progressToken"]
        progress = {"progressToken": theirs, "progress": 1}
        foreign = {"progressToken": "other", "progress": 1}
        return [
            PROGRESS,
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress},
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": foreign},
            {"jsonrpc": "2.0", "method": "notifications/shout", "params": {}},
            {"result": {"content": []}},
        ]

    gate.script["tools/call"] = script
    answer = await gate.modern("tools/call", call() | token)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    methods = [message.get("method", "answer") for message in answer.messages]
    assert methods == ["notifications/message", "notifications/progress", "answer"]
    assert answer.messages[1]["params"]["progressToken"] == "mine"
    assert answer.messages[2]["id"] == 7
    assert gate.codes() == ["PC5010"]
    assert gate.journal.events[-1].result.chunks == 2


async def test_notifications_take_the_line_back_like_the_answer(gate):
    gate.script["tools/call"] = [PROGRESS, PROGRESS, {"result": {"content": []}}]
    gate.policy.withheld = {"notifications/message"}
    answer = await gate.modern("tools/call", call())
    assert answer.json["result"] == {"content": []}
    assert gate.codes() == ["PC3012"]  # once for the stream


async def test_silent_call_is_kept_alive(gate, hang, eventually):
    gate.script["tools/call"] = [hang]
    leave = asyncio.Event()
    task = asyncio.create_task(gate.modern("tools/call", call(), leave=leave))
    await asyncio.sleep(0.2)
    leave.set()
    assert b": keep-alive\n\n" in (await task).body


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([{"jsonrpc": "2.0", "id": "other", "result": {}}], "PC5003"),
        ([{"jsonrpc": "2.0", "id": 1, "result": []}], "PC5003"),
        ([{"jsonrpc": "2.0", "method": "ping", "id": 1}], "PC5003"),
        ([{"jsonrpc": "2.0", "result": {}, "error": {}}], "PC5003"),
        ([], "PC5008"),
        ([Problem("PC5011", "the process died")], "PC5011"),
    ],
)
async def test_server_that_breaks_the_protocol_is_not_passed_on(gate, steps, code):
    gate.script["tools/call"] = steps
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == code
    assert gate.codes() == [code]


async def test_lost_server_is_opened_anew_for_the_next_call(gate):
    gate.script["tools/call"] = [Problem("PC5011", "the process died")]
    await gate.modern("tools/call", call())
    first = gate.channel
    gate.servers.opened.clear()
    gate.script["tools/call"] = [{"result": {"content": []}}]
    answer = await gate.modern("tools/call", call())
    assert "result" in answer.json
    assert first.closed


async def test_discover_error_passes_so_that_clients_fall_back(gate):
    gate.script["server/discover"] = [{"error": {"code": -32601, "message": "Method not found"}}]
    answer = await gate.modern("server/discover")
    assert (answer.status, answer.json["error"]["code"]) == (404, -32601)


async def test_discover_offers_no_version_and_no_task_that_the_gate_refuses(gate):
    gate.script["server/discover"] = [
        {
            "result": {
                "supportedVersions": ["2026-07-28", "2099-01-01"],
                "capabilities": {"tools": {}, "tasks": {}},
            }
        }
    ]
    result = (await gate.modern("server/discover")).json["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert result["capabilities"] == {"tools": {}}


async def test_withheld_result_does_not_reach_the_client(gate):
    gate.policy.withheld = {"read_order"}
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == "PC3012"
    assert b"done" not in answer.body


async def test_subscription_events_carry_the_clients_own_id_and_resources_are_judged(gate):
    gate.policy.denied = {"file:///secret"}
    stamp = {"io.modelcontextprotocol/subscriptionId": "forged"}
    gate.script["subscriptions/listen"] = [
        {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "file:///a", "_meta": stamp},
        },
        {"result": {}},
    ]
    wanted = {"notifications": {"resourceSubscriptions": ["file:///a"]}}
    answer = await gate.modern("subscriptions/listen", wanted)
    assert answer.messages[0]["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 7
    assert answer.messages[1]["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 7
    wanted = {"notifications": {"resourceSubscriptions": ["file:///a", "file:///secret"]}}
    denied = await gate.modern("subscriptions/listen", wanted)
    assert denied.json["error"]["data"]["code"] == "PC3002"


async def test_two_agents_never_share_a_channel(gate):
    await gate.modern("tools/list", context=gate.context("a1", "s1"))
    await gate.modern("tools/list", context=gate.context("a2", "s2"))
    await gate.modern("tools/list", context=gate.context("a2", None))
    assert len(gate.servers.opened) == 3


def gate_meta(**more):
    return {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    } | more


async def test_fault_of_the_gate_is_an_answer_and_an_event(gate):
    gate.shelf.known = None
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == "PC9002"
    assert gate.codes() == ["PC9002"]


async def test_fault_after_the_decision_leaves_no_call_without_its_result(gate):
    gate.script["tools/call"] = [5]
    answer = await gate.modern("tools/call", call())
    assert answer.json["error"]["data"]["code"] == "PC9002"
    kinds = [event.type for event in gate.journal.events]
    assert kinds == ["tool_call", "tool_result", "error"]


async def test_client_that_leaves_before_the_decision_leaves_a_record(gate, hang):
    gate.script["tools/list"] = [hang]
    leave = asyncio.Event()
    task = asyncio.create_task(gate.modern("tools/call", call(), leave=leave))
    await asyncio.sleep(0.03)
    leave.set()
    await task
    assert gate.channel.left == ["tools/list"]
    assert gate.codes() == ["PC5014"]


async def test_a_tool_that_is_not_as_approved_is_not_shown(gate):
    gate.shelf.unusable = {"drop_table"}
    result = (await gate.modern("tools/list")).json["result"]
    assert [tool["name"] for tool in result["tools"]] == ["read_order", "routed"]
    gate.shelf.unusable = {"drop_table", "read_order", "routed"}
    pages = gate.script["tools/list"][0]["result"] | {"nextCursor": "2"}
    gate.script["tools/list"] = [{"result": pages}]
    result = (await gate.modern("tools/list")).json["result"]
    assert (result["tools"], result["nextCursor"]) == ([], "2")
