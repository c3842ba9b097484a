"""If these fail, a desktop client behind ``portcullis mcp`` is not served, or not guarded."""

import asyncio
import json

import pytest

from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming
from portcullis.gateway import mcp_stdio
from portcullis.gateway.mcp_stdio import serve_stdio

pytestmark = pytest.mark.anyio
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}},
}
CALL = {"id": 1, "method": "tools/call", "params": {"name": "read_order"}}
MODERN = {"id": 1, "method": "tools/call", "params": {"name": "read_order", "_meta": META}}


class Pipe:
    """Standard output: every line must be one JSON-RPC message."""

    def __init__(self, eventually):
        self.lines = []
        self.stuck = False
        self._eventually = eventually

    def write(self, data):
        assert data.endswith(b"\n")
        assert data.count(b"\n") == 1
        self.lines.append(json.loads(data))

    async def drain(self):
        if self.stuck:
            await asyncio.Event().wait()

    async def line(self, index):
        await self._eventually(lambda: len(self.lines) > index)
        return self.lines[index]


class Desk:
    """A desktop client on both ends of the gate's standard streams."""

    def __init__(self, gate, eventually):
        self.gate = gate
        self.reader = asyncio.StreamReader()
        self.out = Pipe(eventually)
        self.problem = None

        async def contexts():
            if self.problem:
                raise self.problem
            return gate.context()

        self.task = asyncio.create_task(
            serve_stdio(
                self.reader,
                self.out,
                mcp=gate.mcp,
                conversations=gate.conversations,
                server="orders",
                contexts=contexts,
                live=gate.live,
            )
        )

    def say(self, message):
        self.raw(json.dumps({"jsonrpc": "2.0"} | message).encode() + b"\n")

    def raw(self, data):
        self.reader.feed_data(data)

    async def leave(self):
        self.reader.feed_eof()
        await asyncio.wait_for(self.task, 2)


@pytest.fixture
async def desk(gate, eventually):
    desk = Desk(gate, eventually)
    yield desk
    if not desk.task.done():
        await desk.leave()


async def test_legacy_client_initializes_calls_and_hears_the_server(desk, gate):
    desk.say(INITIALIZE)
    assert (await desk.out.line(0))["result"]["protocolVersion"] == "2025-11-25"
    desk.say({"method": "notifications/initialized"})
    desk.say(CALL)
    assert (await desk.out.line(1))["id"] == 1
    ask = {"jsonrpc": "2.0", "id": 5, "method": "roots/list"}
    await gate.channel.listening.put(Incoming(message=ask))
    asked = await desk.out.line(2)
    assert asked["id"] != 5
    desk.say({"id": asked["id"], "result": {"roots": []}})
    await desk.leave()
    assert gate.channel.told[-1] == {"jsonrpc": "2.0", "id": 5, "result": {"roots": []}}
    assert gate.channel.closed
    assert len(gate.conversations) == 0


async def test_modern_client_needs_no_initialize(desk, gate):
    desk.say(MODERN)
    assert (await desk.out.line(0))["result"]["content"]
    assert next(iter(gate.servers.opened))[2] is False


async def test_client_that_probed_may_fall_back(desk, gate):
    gate.script["server/discover"] = [{"error": {"code": -32601, "message": "no"}}]
    desk.say({"id": 0, "method": "server/discover", "params": {"_meta": META}})
    assert (await desk.out.line(0))["error"]["code"] == -32601
    desk.say(INITIALIZE | {"id": 1})
    assert "result" in await desk.out.line(1)
    assert [key[2] for key in gate.servers.opened] == [False, True]
    assert next(iter(gate.servers.opened.values())).closed


async def test_requests_run_side_by_side(desk, gate, hang):
    gate.script["tools/call"] = lambda m: (
        [hang] if m["params"].get("arguments") else [{"result": {"content": []}}]
    )
    slow = {"name": "read_order", "arguments": {"slow": 1}, "_meta": META}
    desk.say({"id": "slow", "method": "tools/call", "params": slow})
    desk.say(MODERN | {"id": "fast"})
    assert (await desk.out.line(0))["id"] == "fast"
    desk.say({"method": "notifications/cancelled", "params": {"requestId": "slow"}})
    desk.say(MODERN | {"id": "last"})
    assert (await desk.out.line(1))["id"] == "last"
    assert gate.channel.left == ["tools/call"]
    await desk.leave()
    assert [line["id"] for line in desk.out.lines] == ["fast", "last"]


async def test_denied_call_is_an_error_message(desk, gate):
    gate.policy.denied = {"read_order"}
    desk.say(MODERN)
    assert (await desk.out.line(0))["error"]["data"]["code"] == "PC3002"
    assert gate.journal.events[0].route == "mcp-stdio"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"hello", "PC1001"),
        (b"\xff", "PC1002"),
        (b'{"a":1,"a":2}', "PC1003"),
        (b'"\\u0000"', "PC1004"),
        (b"[" * 80 + b"]" * 80, "PC1005"),
        (b"[]", "PC1031"),
        (b"{}", "PC1030"),
        (b"x" * 2000, "PC1007"),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', "PC1035"),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', "PC1035"),
    ],
)
async def test_malformed_line_is_answered_and_recorded_and_the_next_is_served(
    make_gate, eventually, line, code
):
    gate = make_gate(body_bytes=1024)
    desk = Desk(gate, eventually)
    desk.raw(line + b"\n")
    error = await desk.out.line(0)
    assert error["error"]["data"]["code"] == code
    assert gate.codes() == [code]
    desk.say(MODERN)
    assert "result" in await desk.out.line(1)
    await desk.leave()


async def test_refused_notification_is_recorded_and_not_answered(desk, gate):
    desk.say(INITIALIZE)
    await desk.out.line(0)
    desk.say({"method": "notifications/shout"})
    desk.say(CALL)
    assert (await desk.out.line(1))["id"] == 1
    assert gate.codes() == ["PC1034"]


async def test_stream_cut_within_a_line_is_recorded(desk, gate):
    desk.raw(b'{"jsonrpc":')
    await desk.leave()
    assert gate.codes() == ["PC1001"]


async def test_expired_credential_refuses_each_message(desk, gate):
    desk.problem = Problem("PC2003", "the token has expired")
    desk.say(MODERN)
    error = await desk.out.line(0)
    assert (error["id"], error["error"]["data"]["code"]) == (1, "PC2003")
    assert not gate.servers.opened
    assert gate.codes() == ["PC2003"]


async def test_client_that_leaves_stops_what_runs(desk, gate, hang):
    gate.script["tools/call"] = [hang]
    desk.say(MODERN)
    await asyncio.sleep(0.02)
    await desk.leave()
    assert gate.channel.left == ["tools/call"]
    assert gate.channel.closed
    assert not desk.out.lines
    assert gate.codes() == ["PC5014"]


async def test_too_many_requests_at_once_are_refused_not_queued(desk, gate, hang):
    gate.script["tools/call"] = [hang]
    for number in range(65):
        desk.say(MODERN | {"id": number})
    error = await desk.out.line(0)
    assert (error["id"], error["error"]["data"]["code"]) == (64, "PC5025")


async def test_cut_off_agent_loses_what_runs(desk, gate, hang):
    gate.script["tools/call"] = [hang]
    desk.say(MODERN)
    await asyncio.sleep(0.02)
    gate.policy.cut = "killed"
    gate.live.sweep()
    await asyncio.sleep(0.02)  # long before anybody looks at what runs
    assert desk.out.lines[0]["error"]["data"]["code"] == "PC4001"
    assert gate.channel.left == ["tools/call"]
    assert gate.codes() == ["PC4001"]


async def test_session_that_ends_is_noticed_without_any_cut(desk, gate, hang):
    gate.script["tools/call"] = [hang]
    desk.say(MODERN)
    await asyncio.sleep(0.02)
    gate.clock.time += 7201
    assert (await desk.out.line(0))["error"]["data"]["code"] == "PC2006"


async def test_both_eras_do_not_mix(desk, gate):
    desk.say(INITIALIZE)
    await desk.out.line(0)
    desk.say(MODERN)
    assert (await desk.out.line(1))["error"]["data"]["code"] == "PC1030"
    desk.say(INITIALIZE | {"id": 2})
    assert (await desk.out.line(2))["error"]["data"]["code"] == "PC1030"
    desk.say(CALL | {"id": 3})
    assert "result" in await desk.out.line(3)


async def test_call_before_the_session_is_settled_is_refused(desk, gate, hang):
    gate.script["initialize"] = [hang]
    desk.say(INITIALIZE)
    desk.say(CALL)
    assert (await desk.out.line(0))["error"]["data"]["code"] == "PC1035"


async def test_server_that_died_answers_what_waits_and_ends_the_gate(desk, gate):
    died = asyncio.Event()

    async def dies():
        await died.wait()
        gate.channel.alive = False

    gate.script["tools/call"] = [dies, Problem("PC5011", "the server orders ended")]
    desk.say(MODERN)
    desk.say(MODERN | {"id": 2})
    await asyncio.sleep(0.02)
    died.set()
    with pytest.raises(Problem, match="PC5011") as ended:
        await asyncio.wait_for(desk.task, 2)
    assert ended.value.hint
    answered = {line["id"]: line["error"]["data"] for line in desk.out.lines}
    assert {key: data["code"] for key, data in answered.items()} == {1: "PC5011", 2: "PC5011"}
    assert all(data["hint"] for data in answered.values())
    assert gate.channel.closed


async def test_server_that_died_while_nothing_ran_ends_the_gate(desk, gate):
    desk.say(INITIALIZE)
    await desk.out.line(0)
    gate.channel.alive = False
    with pytest.raises(Problem, match="PC5011"):
        await asyncio.wait_for(desk.task, 3)


async def test_call_that_a_dead_server_left_hanging_is_answered_in_the_end(
    desk, gate, hang, monkeypatch
):
    monkeypatch.setattr(mcp_stdio, "LAST_SECONDS", 0.05)
    gate.script["tools/call"] = [hang]
    desk.say(MODERN)
    await asyncio.sleep(0.02)
    gate.channel.alive = False
    with pytest.raises(Problem, match="PC5011"):
        await asyncio.wait_for(desk.task, 3)
    assert [line["error"]["data"]["code"] for line in desk.out.lines] == ["PC5011"]
    assert gate.codes() == ["PC5011"]
