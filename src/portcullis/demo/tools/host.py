"""Serve all MCP servers of the demonstration on one port, each below its own path."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from portcullis.demo.serve import App, Receive, Scope, Send, answer, serving
from portcullis.demo.tools import servers
from portcullis.demo.tools.records import Records

SERVERS: Final = ("orders", "crm", "tickets", "mail", "kb")


def _unobserved(_tool: str) -> None:
    """Nobody wants to know about writes."""


@contextlib.asynccontextmanager
async def tool_servers(
    records: Records,
    *,
    credential: str,
    on_write: Callable[[str], None] = _unobserved,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[dict[str, str]]:
    """Serve the MCP servers for as long as the context lasts; yields name -> URL.

    They speak both eras of MCP over streamable HTTP, to whoever presents ``credential`` as a
    bearer token. ``on_write`` is called with ``server.tool`` before a tool changes anything;
    ``now`` dates the tickets.
    """
    made = {
        "orders": servers.orders(records),
        "crm": servers.crm(records),
        "tickets": servers.tickets(records, now=now, on_write=on_write),
        "mail": servers.mail(records, on_write=on_write),
        "kb": servers.kb(records),
    }
    apps: dict[str, App] = {
        f"/{name}/mcp": server.streamable_http_app(streamable_http_path=f"/{name}/mcp")
        for name, server in made.items()
    }
    async with (
        running([server.session_manager for server in made.values()]),
        serving(_guarded(apps, credential)) as url,
    ):
        yield {name: f"{url}/{name}/mcp" for name in made}


@contextlib.asynccontextmanager
async def running(managers: Sequence[StreamableHTTPSessionManager]) -> AsyncIterator[None]:
    """Run the SDK's session managers in a task of their own.

    Their task groups would wrap whatever the block raises into exception groups.
    """
    ready, stop = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for manager in managers:
                await stack.enter_async_context(manager.run())
            ready.set()
            await stop.wait()

    task = asyncio.create_task(run())
    task.add_done_callback(lambda _: ready.set())
    try:
        await ready.wait()
        if task.done():
            await task
        yield
    finally:
        stop.set()
        await task


def _guarded(apps: Mapping[str, App], credential: str) -> App:
    expected = f"Bearer {credential}".encode()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], expected):
            await answer(send, 401, b'{"error": "wrong or missing credential"}')
            return
        target = apps.get(scope["path"])
        if target is None:
            await answer(send, 404, b'{"error": "no such server"}')
            return
        await target(scope, receive, send)

    return app
