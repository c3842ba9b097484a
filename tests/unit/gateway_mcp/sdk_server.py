"""An MCP server made with the official SDK; run it for stdio, import it for HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel


class Sure(BaseModel):
    sure: bool


def confirm() -> Elicit[Sure]:
    return Elicit("Are you sure?", Sure)


def make() -> MCPServer:
    server = MCPServer("official")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    def forbidden() -> str:
        return "must not run"

    @server.tool()
    async def count(to: int, ctx: Context) -> str:
        for number in range(to):
            await ctx.report_progress(number + 1, to)
        return "counted"

    @server.tool()
    async def wipe(what: str, answer: Annotated[Sure, Resolve(confirm)]) -> str:
        return f"wiped {what}" if answer.sure else "kept"

    @server.tool()
    async def sleep(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    @server.tool()
    async def change(ctx: Context) -> str:
        await ctx.notify_tools_changed()
        return "changed"

    @server.resource("memo://one")
    def memo() -> str:
        return "a memo"

    @server.prompt()
    def greet(name: str) -> str:
        return f"Hello {name}"

    return server


if __name__ == "__main__":
    make().run("stdio")
