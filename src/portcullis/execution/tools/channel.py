"""An MCP server inside the gate, both eras: a ``Channel`` whose tools run here, each in a box.

It is a server like any other to the line: its tools are listed, pinned, decided on and inspected.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Protocol

from portcullis import __version__
from portcullis.core.behalf import NOBODY, Behalf
from portcullis.core.ports import Incoming
from portcullis.execution.tools.answer import OUTPUT_SCHEMA, Answer
from portcullis.execution.tools.room import Room
from portcullis.wire.mcp import LEGACY_VERSIONS, MODERN_VERSIONS, VERSION_KEY
from portcullis.wire.mcp_told import SERVER_KEY

_UNKNOWN_METHOD: Final = -32601
_UNKNOWN_TOOL: Final = -32602


class Tool(Protocol):
    """One tool. ``call`` runs it; leaving early ends what runs. Faults are Problems."""

    @property
    def definition(self) -> dict[str, Any]: ...  # noqa: D102 - see above
    async def call(self, call_id: str, arguments: dict[str, Any]) -> Answer: ...  # noqa: D102
    async def close(self) -> None: ...  # noqa: D102


class ToolChannel:
    """A ``Channel`` of which nothing is kept from one request to the next.

    Arguments are held against the schema before they come here (checks/validate.py). ``room`` is
    for all tools; a call for which there is none is Problem PC5006 or PC5025.
    """

    alive = True

    def __init__(
        self, server: str, tools: Mapping[str, Tool], room: Room, behalf: Behalf | None = None
    ) -> None:
        self._server = server
        self._tools = dict(tools)
        self._room = room
        self._behalf = behalf or NOBODY
        self._about = {"name": server, "version": __version__}

    def on_behalf(self, behalf: Behalf | None) -> ToolChannel:
        """The same server, for this caller."""
        return ToolChannel(self._server, self._tools, self._room, behalf)

    async def request(
        self, message: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncGenerator[Incoming, None]:
        """Answer a request; see ``Channel``."""
        del headers
        params = message.get("params", {})
        modern = VERSION_KEY in params.get("_meta", {})
        found = await self._answer(message["id"], message["method"], params)
        if modern and "result" in found:
            found["result"] |= self._modern(message["method"])
        yield Incoming(message={"jsonrpc": "2.0", "id": message["id"]} | found)

    async def notify(self, message: dict[str, Any], headers: Mapping[str, str]) -> None:
        """Take note of nothing: a call is cancelled by leaving it."""
        del message, headers

    async def listen(self, last_event_id: str | None) -> AsyncGenerator[Incoming, None]:
        """Say nothing outside a request."""
        del last_event_id
        nothing: tuple[Incoming, ...] = ()
        for message in nothing:
            yield message

    async def close(self, *, at_once: bool = False) -> None:
        """Do nothing: no conversation has anything here that lasts."""
        del at_once

    async def end(self) -> None:
        """Wait until nothing runs any more; for when the gate ends."""
        for tool in self._tools.values():
            await tool.close()

    async def _answer(self, call_id: Any, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "tools/list":
            return {"result": {"tools": self._listed()}}
        if method == "tools/call":
            return await self._called(str(call_id), params)
        if method == "ping":
            return {"result": {}}
        capable: dict[str, Any] = {"capabilities": {"tools": {}}}
        if method == "server/discover":
            return {"result": capable | {"supportedVersions": list(MODERN_VERSIONS)}}
        if method == "initialize":
            asked = params.get("protocolVersion")
            version = asked if asked in LEGACY_VERSIONS else LEGACY_VERSIONS[-1]
            return {"result": capable | {"protocolVersion": version, "serverInfo": self._about}}
        return _failed(_UNKNOWN_METHOD, "there is no such method here")

    def _modern(self, method: str) -> dict[str, Any]:
        """What the modern era's results say besides."""
        added: dict[str, Any] = {"resultType": "complete", "_meta": {SERVER_KEY: self._about}}
        if method in {"server/discover", "tools/list"}:
            added |= {"ttlMs": 0, "cacheScope": "private"}
        return added

    def _listed(self) -> list[dict[str, Any]]:
        return [
            {"name": name, **tool.definition, "outputSchema": OUTPUT_SCHEMA}
            for name, tool in self._tools.items()
        ]

    async def _called(self, call_id: str, params: dict[str, Any]) -> dict[str, Any]:
        tool = self._tools.get(params["name"])
        if tool is None:
            return _failed(_UNKNOWN_TOOL, "there is no such tool here")
        with self._room.taken(f"{self._behalf.kind}:{self._behalf.principal}"):
            return {"result": await tool.call(call_id, params.get("arguments", {}))}


def _failed(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
