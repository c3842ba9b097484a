"""An MCP server of files, made with the official SDK: what it shows is what a test puts there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.types import ContentBlock

from portcullis.demo.serve import serving
from portcullis.demo.tools.host import running

ABOUT = "Change a file."


class Files:
    """``content`` are the content blocks of each file, ``text`` what a resource or prompt says."""

    def __init__(self) -> None:
        self.url = ""
        self.content: dict[str, list[ContentBlock]] = {}
        self.text: dict[str, Any] = {}
        self.server = MCPServer("files", version="1", log_level="CRITICAL")
        self.server.tool()(self.show)
        self.server.resource("file://{name}")(self.resource)
        self.server.prompt()(self.from_file)
        self.server.tool(description=ABOUT)(self.change)

    def describe(self, about: str) -> None:
        """Say something else of the tool ``change`` from now on."""
        self.server.remove_tool("change")
        self.server.add_tool(self.change, description=about)

    async def show(self, name: str) -> list[ContentBlock]:
        """Show a file."""
        return self.content[name]

    async def change(self, name: str, text: str) -> str:
        """Change a file."""
        return f"{name} has {len(text)} characters now"

    async def resource(self, name: str) -> str | bytes:
        """A file as a resource."""
        return self.text[name]

    async def from_file(self, name: str) -> str:
        """A file as a prompt."""
        return str(self.text[name])


@asynccontextmanager
async def serving_files() -> AsyncIterator[Files]:
    """The server for as long as the block lasts."""
    files = Files()
    app = files.server.streamable_http_app()
    async with running([files.server.session_manager]), serving(app) as url:
        files.url = f"{url}/mcp"
        yield files
