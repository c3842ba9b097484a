"""Clients that ask without a pause while processes come and go: what failed, and what was done."""

import asyncio
import collections
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

import standins

SAID = [{"role": "user", "content": "Hello, hello and good bye"}]
_PAUSE = 0.01


@dataclass
class Load:
    """``done`` counts by kind, ``failed`` says what went wrong; ``asked`` counts by session."""

    fleet: Any
    done: collections.Counter = field(default_factory=collections.Counter)
    asked: collections.Counter = field(default_factory=collections.Counter)
    failed: list = field(default_factory=list)
    slowest: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stage(self):
        return self.fleet.stage

    async def more(self, times=3, seconds=60):
        """Wait until each kind was done some times more."""
        before = dict(self.done)
        async with asyncio.timeout(seconds):
            while any(self.done[kind] < before.get(kind, 0) + times for kind in KINDS):
                if self.failed:
                    return
                await asyncio.sleep(0.02)

    async def _keep(self, kind, session, work):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - whatever a client raises
                self.failed.append((kind, repr(error), repr(error.__cause__)))
                return
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.done[kind] += 1
            self.asked[session] += 1
            await asyncio.sleep(_PAUSE)

    async def kept_connection(self, kind, session, token):
        """JSON over a connection that is kept."""
        async with standins.openai_client(self.stage, token) as client:

            async def ask():
                await client.chat.completions.create(model="gpt-standin", messages=SAID)

            await self._keep(kind, session, ask)

    async def anthropic_kept_connection(self, kind, session, token):
        """The same with the other provider's client."""
        async with standins.anthropic_client(self.stage, token) as client:

            async def ask():
                await client.messages.create(model="claude-standin", messages=SAID, max_tokens=50)

            await self._keep(kind, session, ask)

    async def new_connection(self, kind, session, token):
        """JSON over a connection for each request."""
        none = httpx2.AsyncClient(limits=httpx2.Limits(max_keepalive_connections=0), timeout=20)
        base = f"{self.stage.gate.gate_url}/openai/v1"
        async with openai.AsyncOpenAI(
            base_url=base, api_key=token, max_retries=0, http_client=none
        ) as client:

            async def ask():
                await client.chat.completions.create(model="gpt-standin", messages=SAID)

            await self._keep(kind, session, ask)

    async def stream(self, kind, session, token):
        """Streams, each to its end."""
        async with standins.openai_client(self.stage, token) as client:

            async def ask():
                stream = await client.chat.completions.create(
                    model="gpt-standin", messages=SAID, stream=True
                )
                last = [chunk async for chunk in stream][-1]
                assert last.choices[0].finish_reason == "stop"

            await self._keep(kind, session, ask)

    async def anthropic_stream(self, kind, session, token):
        """The same with the other provider's client."""
        async with standins.anthropic_client(self.stage, token) as client:

            async def ask():
                async with client.messages.stream(
                    model="claude-standin", messages=SAID, max_tokens=50
                ) as stream:
                    assert (await stream.get_final_message()).stop_reason == "end_turn"

            await self._keep(kind, session, ask)

    async def legacy_session(self, kind, session, token):
        """Sessions of MCP's legacy era, some calls each, over connections that are kept."""
        await self._tools(kind, session, token, "legacy")

    async def stateless(self, kind, session, token):
        """The same without sessions."""
        await self._tools(kind, session, token, "auto")

    async def _tools(self, kind, session, token, mode):
        headers = {"authorization": f"Bearer {token}"}
        url = f"{self.stage.gate.gate_url}/mcp/orders"

        async def ask():
            async with (
                httpx2.AsyncClient(headers=headers, timeout=20) as http,
                Client(streamable_http_client(url, http_client=http), mode=mode) as client,
            ):
                for _ in range(5):
                    found = await client.call_tool("search", {"customer_id": "C-1001"})
                    assert "O-5001" in str(found)

        await self._keep(kind, session, ask)


KINDS = (
    "kept_connection",
    "anthropic_kept_connection",
    "new_connection",
    "stream",
    "anthropic_stream",
    "legacy_session",
    "stateless",
)
CALLS = {"legacy_session": 5, "stateless": 5}
"""Calls in one of them; others are one."""


@contextlib.asynccontextmanager
async def load(fleet):
    """Ask in each of these ways until the block ends."""
    made = Load(fleet)
    sessions = {kind: await fleet.opened() for kind in KINDS}
    made.sessions = {kind: session for kind, (session, _) in sessions.items()}
    works = [asyncio.create_task(getattr(made, kind)(kind, *sessions[kind])) for kind in KINDS]
    try:
        yield made
    finally:
        made.over.set()
        await asyncio.wait_for(asyncio.gather(*works), 40)
