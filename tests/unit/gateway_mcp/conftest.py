"""A gate around scripted MCP servers: the real line, recorded events, no network."""

import asyncio
import json
import secrets
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from portcullis.config import Limits
from portcullis.core.call import Action, Context, RiskClass
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.verdict import PASS, Allow, Deny, Transform
from portcullis.gateway.http import Request
from portcullis.gateway.live import Connection, Live
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversations import Conversations
from portcullis.gateway.mcp_http import McpHttp
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records
from portcullis.wire.mcp_state import Seal

VERSION = "2026-07-28"
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
TOOLS = [
    {"name": "read_order", "inputSchema": {"type": "object", "properties": {}}},
    {"name": "drop_table", "inputSchema": {"type": "object", "properties": {}}},
    {
        "name": "routed",
        "inputSchema": {
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        },
    },
]
HANG = object()


class Clock:
    def __init__(self):
        self.time = 1_800_000_000.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


class Journal:
    def __init__(self):
        self.events = []

    async def durable(self, event):
        await asyncio.sleep(0)
        self.events.append(event)

    def enqueue(self, event):
        self.events.append(event)

    def commitment(self, subject, value):
        return "hmac-sha256:00"


class Memory:
    async def proposed(self, key, names, digest):
        return None


class Policy(Check):
    """Denies by name, cuts off on demand, shows only the tools that it allows."""

    name = "policy"
    digest = "sha256:test"

    def __init__(self):
        self.denied = set()
        self.withheld = set()
        self.cut = None
        self.seen = []

    def judge(self, call, context, facts):
        self.seen.append(call)
        if self.cut:
            return Deny(code="PC4001", reason=self.cut)
        if call.name in self.denied:
            return Deny(code="PC3002", reason="denied by the test")
        return Allow(rule="test", risk=RiskClass.READ)

    def judge_result(self, call, context, result, facts):
        if call.name in self.withheld:
            return Deny(code="PC3012", reason="withheld by the test")
        if call.action is Action.LIST and call.name == "tools" and not result.is_error:
            shown = [t for t in result.payload["tools"] if t["name"] not in self.denied]
            return Transform(payload=result.payload | {"tools": shown})
        return PASS

    def judge_chunk(self, call, context):
        return Deny(code="PC4001", reason=self.cut) if self.cut else PASS

    def stale(self):
        return False

    def reason(self, principal, session):
        """As the kill feed that ``Live`` asks."""
        return self.cut


class Shelf:
    """An inventory without schemas; ``unusable`` names tools that are not as approved."""

    def __init__(self):
        self.tools = {}
        self.unusable = set()
        self.learned = 0

    def known(self, server):
        return server in self.tools

    def learn(self, server, tools):
        self.learned += 1
        self.tools[server] = {tool.name: tool for tool in tools}

    async def listed(self, server, tools, *, whole):
        if whole:
            self.learn(server, tools)
        return frozenset(tool.name for tool in tools) - self.unusable

    def forget(self, server):
        self.tools.pop(server, None)

    def refusal(self, server, name):
        return None

    def due(self, server, name):
        return False

    def tool(self, server, name):
        return self.tools.get(server, {}).get(name)


class Channel:
    """A server that follows a script: method -> what it sends, in order.

    A script is a list, or a function of the message that returns one. Its items are whole
    messages; bare results and errors get the request's id; a Problem is raised; HANG waits.
    """

    def __init__(self, script):
        self.script = script
        self.sent = []
        self.told = []
        self.headers = []
        self.left = []
        self.listening = asyncio.Queue()
        self.listened = []
        self.closed = False
        self.alive = True

    async def request(self, message, headers):
        self.sent.append(message)
        self.headers.append(dict(headers))
        steps = self.script.get(message["method"], [{"result": {}}])
        done = False
        try:
            for step in steps(message) if callable(steps) else steps:
                if step is HANG:
                    await asyncio.Event().wait()
                if isinstance(step, Problem):
                    raise step
                if callable(step):
                    await step()
                    continue
                whole = {"jsonrpc": "2.0", "id": message["id"]} | step
                if "jsonrpc" in step:
                    whole = step
                done = "result" in whole or "error" in whole
                yield Incoming(message=whole)
        finally:
            if not done:
                self.left.append(message["method"])

    async def notify(self, message, headers):
        self.told.append(message)

    async def listen(self, last_event_id):
        self.listened.append(last_event_id)
        while True:
            item = await self.listening.get()
            if item is None:
                return
            yield item

    async def close(self, *, at_once=False):
        self.closed = True

    def last(self, method):
        return next(m for m in reversed(self.sent) if m["method"] == method)


class Servers:
    def __init__(self):
        self.script = {
            "tools/list": [{"result": {"tools": TOOLS}}],
            "tools/call": [{"result": {"content": [{"type": "text", "text": "done"}]}}],
            "initialize": [
                {
                    "result": {
                        "protocolVersion": "2025-11-25",
                        "capabilities": {"tools": {}, "tasks": {}},
                        "serverInfo": {"name": "s", "version": "1"},
                    }
                }
            ],
        }
        self.opened = {}

    def servers(self):
        return ("orders", "crm")

    def spawns(self, server):
        return server == "crm"

    async def open(self, server, key, *, legacy, behalf=None):
        return self.opened.setdefault((server, key, legacy), Channel(self.script))

    @property
    def channel(self):
        return list(self.opened.values())[-1]

    async def close(self):
        pass


@dataclass
class Answer:
    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        """The messages of an event stream, with their ids."""
        found = []
        for block in self.body.decode().split("\n\n"):
            lines = dict(
                line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")
            )
            if "data" in lines:
                found.append((json.loads(lines["data"]), lines.get("id")))
        return found

    @property
    def messages(self):
        return [message for message, _ in self.events]

    async def message(self, index):
        """A message of a stream that is still open."""
        await eventually(lambda: len(self.messages) > index)
        return self.messages[index]


class Gate:
    """Everything around one gate, and the ways to speak to it."""

    def __init__(self, channels=None, **limits):
        self.clock = Clock()
        self.policy = Policy()
        self.journal = Journal()
        self.shelf = Shelf()
        self.servers = channels or Servers()
        records = Records("gate", self.journal, Memory(), self.policy, self.clock)
        self.pipeline = Pipeline([self.policy], self.journal, records, Metrics(CollectorRegistry()))
        self.mcp = Mcp(
            pipeline=self.pipeline,
            inventory=self.shelf,
            channels=self.servers,
            seal=Seal(secrets.token_bytes(32)),
            clock=self.clock,
            limits=Limits(**limits),
        )
        self.conversations = Conversations(self.mcp)
        self.live = Live(self.policy, None, "example.test", self.clock)
        self.http = McpHttp(self.mcp, self.conversations, keep_alive=0.05, tick=0.01)

    @property
    def channel(self):
        return self.servers.channel

    @property
    def script(self):
        return self.servers.script

    @staticmethod
    def answer():
        return Answer()

    def codes(self):
        return [event.code for event in self.journal.events if event.code]

    def context(self, agent="a1", session="s1", ttl=3600.0):
        now = self.clock.now()
        return Context(
            principal=Principal(
                kind=PrincipalKind.AGENT,
                id=agent,
                credential="t1",
                expires_at=now + ttl,
                session=session,
            ),
            session=Session(
                id=session,
                agent=agent,
                application="app",
                user="u",
                prompt="p",
                subject={},
                grant=None,
                opened_at=now,
                expires_at=now + 7200,
            )
            if session
            else None,
            source="127.0.0.1:1",
            trace_id="0" * 32,
            received_at=now,
        )

    async def http_call(
        self,
        method,
        body=b"",
        headers=(),
        *,
        server="orders",
        context=None,
        leave=None,
        stuck=False,
        answer=None,
    ):
        """One HTTP request. The client stays until the answer ends, or until ``leave`` is set."""
        answer = answer or Answer()
        connection = Connection(lambda: None)

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def lost():
            await (leave or asyncio.Event()).wait()
            connection.lost()

        async def send(message):
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
                return
            if stuck:
                await asyncio.Event().wait()
            answer.body += message.get("body", b"")
            if not message.get("more_body", False):
                answer.ended = True

        scope = {
            "type": "http",
            "method": method,
            "path": f"/mcp/{server}",
            "client": ("127.0.0.1", 1),
            "headers": [(k.lower().encode(), str(v).encode()) for k, v in headers],
            "portcullis.connection": connection,
        }
        request = Request(scope, receive, send)
        leaving = asyncio.create_task(lost())
        context = context or self.context()
        try:
            with self.live.running(context, request.connection):
                await self.http(request, context, server)
        except Problem as problem:  # what the router does with it
            answer.status = problem.status
            answer.body = json.dumps({"error": {"data": {"code": problem.code}}}).encode()
        finally:
            leaving.cancel()
        return answer

    def headers(self, message, *, version=VERSION, session=None, **extra):
        found = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        if session is not None:
            found["mcp-session-id"] = session
        elif version == VERSION:
            params = message.get("params", {})
            found["mcp-protocol-version"] = version
            found["mcp-method"] = message.get("method", "")
            name = params.get("name") or params.get("uri")
            if name:
                found["mcp-name"] = name
        return [(k, v) for k, v in (found | extra).items() if v is not None]

    async def modern(self, method, params=None, *, headers=None, **kw):
        """A modern request with its envelope and headers; the answer."""
        params = {"_meta": ENVELOPE, **(params or {})}
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        sent = self.headers(message, **(headers or {}))
        return await self.http_call("POST", json.dumps(message).encode(), sent, **kw)

    async def legacy(self, session, message, **kw):
        """A legacy message within a session; the answer."""
        message = {"jsonrpc": "2.0", **message}
        headers = self.headers(message, version=None, session=session, **kw.pop("headers", {}))
        return await self.http_call("POST", json.dumps(message).encode(), headers, **kw)

    async def begin(self, **kw):
        """A legacy session; its id."""
        answer = await self.legacy(
            None,
            {
                "id": 0,
                "method": "initialize",
                "params": {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"sampling": {}},
                    "clientInfo": {"name": "c", "version": "1"},
                },
            },
            **kw,
        )
        assert answer.status == 200, answer.body
        return answer.headers["mcp-session-id"]


@pytest.fixture
def make_gate():
    return Gate


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def hang():
    return HANG


async def eventually(condition):
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.005)
    msg = "it did not happen"
    raise AssertionError(msg)


@pytest.fixture(name="eventually")
def eventually_fixture():
    return eventually
