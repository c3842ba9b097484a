"""A control plane and gateways over one state folder, each gateway at addresses of its own: a test
says which of them a request reaches."""

import asyncio
import contextlib
import dataclasses
import itertools
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

import standins
from e2e.gateways import counting
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.control import running_control
from portcullis.bootstrap.gateway import running_gateway
from portcullis.config import load
from portcullis.core.principal import PrincipalKind
from portcullis.demo.serve import serving

COUNTING = Path(__file__).with_name("counting.py")
AGENTS = (standins.AGENT, "support-agent-prod-002")


def policy():
    """The demonstration's; what an agent reads of addresses is hidden from it."""
    text = yaml.safe_load(standins.support_policy())
    role = text["roles"]["support_agent"]
    role["inspection"] |= {"from_tool": {"EMAIL_ADDRESS": "tokenise"}}
    tools = ["program.look", "counting.count", "counting.steps", "asking.ask"]
    role["allowed_tools"] += tools
    role["server_requests"] = ["asking.elicitation/create"]
    text["tools"] |= {name: {"risk": "read"} for name in tools}
    return yaml.safe_dump(text)


SETTINGS = {
    "approvals": {"wait_seconds": 15},
    "guard": {"program": {}},
    "limits": {"drain_seconds": 1},
    "mcp": {"counting": {"command": [sys.executable, str(COUNTING)], "sandbox": "none"}},
}


@dataclass
class Several:
    """``stage`` is as with one gate, and reaches the first; ``gates`` are the gateways by name."""

    stage: standins.Stage | None = None
    application: str = ""
    gates: dict[str, Any] = field(default_factory=dict)
    stacks: dict[str, contextlib.AsyncExitStack] = field(default_factory=dict)

    async def open(self, agent=AGENTS[0]):
        """A new session: its id and its token."""
        return await self.stage.open_session(self.application, agent, subject=standins.SUBJECT)

    async def session(self, agent=AGENTS[0]):
        """A new session's token."""
        return (await self.open(agent))[1]

    def url(self, name):
        """Where a gateway listens."""
        return self.gates[name].gate_url

    def http(self, token, *names, **more):
        """An HTTP client that goes from gateway to gateway, one request at each."""
        way = Rotating([self.url(name) for name in names or self.gates])
        headers = {"authorization": f"Bearer {token}"} | more
        return httpx2.AsyncClient(transport=way, headers=headers, timeout=20)

    @contextlib.asynccontextmanager
    async def mcp(self, server, token, *names, mode="legacy", **options):
        """The official MCP client over such a one."""
        async with self.http(token, *names) as http:
            url = f"http://gates.example/mcp/{server}"
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                yield client

    def events(self, name):
        """What a gateway has on record."""
        directory = self.gates[name].audit_directory
        return [record.event for record in records(directory, own_verifier(directory))]

    async def end(self, name):
        """End one gateway."""
        await self.stacks.pop(name).aclose()

    async def begin(self, name, config=None):
        """Start one, perhaps again."""
        stack = contextlib.AsyncExitStack()
        config = config or load(self.stage.config)
        self.gates[name] = await stack.enter_async_context(running_gateway(config, name))
        self.stacks[name] = stack


class Rotating(httpx2.AsyncBaseTransport):
    """Sends each request to the next of some URLs."""

    def __init__(self, urls):
        self._next = itertools.cycle(map(httpx2.URL, urls))
        self._way = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request):
        there = next(self._next)
        request.url = request.url.copy_with(scheme="http", host=there.host, port=there.port)
        request.headers["host"] = f"{there.host}:{there.port}"
        return await self._way.handle_async_request(request)

    async def aclose(self):
        await self._way.aclose()


@contextlib.asynccontextmanager
async def several(folder, *names, settings=SETTINGS, made=None):
    """Run them until the block ends; ``made`` is what they are then known by."""
    made = made or Several()

    @contextlib.asynccontextmanager
    async def running(config):
        async with running_control(config) as control:
            try:
                for name in names:
                    await made.begin(name, config)
                first = made.gates[names[0]].urls
                yield dataclasses.replace(control, urls=first | control.urls)
            finally:
                for stack in reversed(made.stacks.values()):
                    await stack.aclose()

    app = counting.make().streamable_http_app()
    async with (
        app.router.lifespan_context(app),
        serving(app) as url,
        standins.staged(
            folder,
            policy=policy(),
            settings=settings | {"mcp": settings["mcp"] | {"asking": {"url": f"{url}/mcp"}}},
            running=running,
        ) as made.stage,
    ):
        for agent in AGENTS:
            await made.stage.create(PrincipalKind.AGENT, agent, owner="shopkeepers")
        made.application = await made.stage.register(PrincipalKind.APPLICATION, "helpdesk")
        yield made


async def until(found, seconds=15.0):
    """Wait for something to be so; what it was in the end."""
    end = time.monotonic() + seconds
    while True:
        value = found()
        value = await value if asyncio.iscoroutine(value) else value
        if value:
            return value
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.02)
