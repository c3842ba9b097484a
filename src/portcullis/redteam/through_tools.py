"""A suite's tools as a real MCP server, over the world that is in place at the time."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from mcp.server.lowlevel import Server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from portcullis.demo.serve import App, Receive, Scope, Send, answer, serving
from portcullis.demo.tools.host import running
from portcullis.redteam.dojo import Arena
from portcullis.redteam.enforcer import Run
from portcullis.redteam.programs import Attempt

_PATH = "/mcp"


class Tools:
    """The tools of one suite. ``world`` runs them; whoever replays puts it there, not over MCP.

    It is one world at a time: sessions come one after the other.
    """

    def __init__(self, arena: Arena) -> None:
        self.world: Run | None = None
        self._arena = arena
        self._offered = [Tool.model_validate(each) for each in arena.offered()]

    @contextlib.asynccontextmanager
    async def served(self, credential: str) -> AsyncIterator[str]:
        """Serve them on loopback, to whoever presents the bearer token; yields the URL."""
        server = Server(
            self._arena.name, version="1", on_list_tools=self._list, on_call_tool=self._call
        )
        app = server.streamable_http_app(streamable_http_path=_PATH)
        async with running([server.session_manager]), serving(_guarded(app, credential)) as url:
            yield f"{url}{_PATH}"

    async def _list(self, context: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        del context, params
        return ListToolsResult(tools=self._offered)

    async def _call(self, context: Any, params: CallToolRequestParams) -> CallToolResult:
        """What a server says of a result: its structure, and the same as text."""
        del context
        if self.world is None:
            raise RuntimeError("a tool was called while no session was replayed")
        attempt = Attempt(params.name, dict(params.arguments or {}))
        outcome = await asyncio.to_thread(self.world, attempt)
        if outcome.failed:
            return CallToolResult(content=[TextContent(text="it failed")], is_error=True)
        whole = outcome.result if isinstance(outcome.result, dict) else {"result": outcome.result}
        text = msgspec.json.encode(whole).decode()
        return CallToolResult(content=[TextContent(text=text)], structured_content=whole)


def _guarded(app: App, credential: str) -> App:
    """Nobody but the gate gets at the tools."""
    expected = f"Bearer {credential}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and hmac.compare_digest(given[0], expected):
            await app(scope, receive, send)
        else:
            await answer(send, 401, b'{"error": "wrong or missing credential"}')

    return guarded
