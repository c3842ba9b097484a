"""An MCP server made with the official SDK; run it for stdio, import it for HTTP."""

from __future__ import annotations

import asyncio

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage
from pydantic import BaseModel


class Answer(BaseModel):
    name: str


class Events(EventStore):
    """Keeps every event, so that a stream can be resumed."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self.kept.append((stream_id, message))
        return str(len(self.kept))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback):
        last = int(last_event_id)
        stream = self.kept[last - 1][0]
        for number, (of, message) in enumerate(self.kept[last:], last + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def make() -> MCPServer:
    server = MCPServer("sdk-server")
    add_calls(server)
    add_streams(server)
    return server


def add_calls(server: MCPServer) -> None:
    cancelled: list[str] = []

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    async def count(to: int, ctx: Context) -> str:
        for number in range(to):
            await ctx.report_progress(number, to)
        return "counted"

    @server.tool()
    async def ask(ctx: Context) -> str:
        answer = await ctx.elicit("Who?", Answer)
        return answer.data.name if answer.action == "accept" else answer.action

    @server.tool()
    async def sleep(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            cancelled.append("sleep")
            raise
        return "slept"

    @server.tool()
    def was_cancelled() -> list[str]:
        return cancelled


def add_streams(server: MCPServer) -> None:
    @server.tool()
    async def hang_up(ctx: Context) -> str:
        await ctx.close_sse_stream()
        await asyncio.sleep(0.2)
        return "still there"

    @server.tool()
    async def change(ctx: Context) -> str:
        await ctx.notify_tools_changed()
        await ctx.session.send_tool_list_changed()
        return "changed"

    @server.tool()
    def seen(ctx: Context) -> dict[str, str]:
        return dict(ctx.headers or {})


if __name__ == "__main__":
    make().run("stdio")
