"""An MCP server over standard streams that remembers, made with the official SDK."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel


class Sure(BaseModel):
    sure: bool


def confirm() -> Elicit[Sure]:
    return Elicit("Are you sure?", Sure)


def make() -> MCPServer:
    server, counted = MCPServer("counting"), [0]

    @server.tool()
    def count() -> dict[str, int]:
        counted[0] += 1
        return {"counted": counted[0], "process": os.getpid()}

    @server.tool()
    async def steps(to: int, seconds: float, ctx: Context) -> str:
        for number in range(to):
            await ctx.report_progress(number + 1, to)
            await asyncio.sleep(seconds)
        return "done"

    @server.tool()
    async def ask(answer: Annotated[Sure, Resolve(confirm)]) -> str:
        return f"sure: {answer.sure}"

    return server


if __name__ == "__main__":
    make().run("stdio")
