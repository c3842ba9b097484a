"""What stands behind a fleet that is measured: a model, and an MCP server with one tool.

Run as ``python -m portcullis.bench.fleet_stub PORT``. No two answers are the same, so whoever
remembers texts gains nothing by it. A POST to ``/mcp`` is MCP (2026-07-28, and what a client of
an earlier revision asks), any other a chat completion, streamed where the body says so.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Final

import msgspec

from portcullis.bench import stub
from portcullis.bench.serve import body_of, lifespan, serve
from portcullis.wire.mcp import MODERN_VERSIONS, VERSION_KEY

TOOL: Final = "search_records_0_0"
"""The server's only tool, which the policy of ``bench.gate`` grants."""
LEGACY: Final = "2025-11-25"
COUNTED: Final = "/counted"
"""Says how many chat completions were asked for."""

_NUMBER: Final = b"0000000000"
_LINE: Final = "Order 0000000000 left the warehouse on Tuesday and arrives within three days. "
_ANSWER: Final = stub.ANSWER.replace(b"The order left", b"Order 0000000000 left")
_EVENTS: Final = tuple(one.replace(b"of it", b"of 0000000000") for one in stub.EVENTS)
_DESCRIBED: Final = {
    "name": TOOL,
    "description": "Looks for records.",
    "inputSchema": {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["query"],
    },
}
_FOUND: Final = {"content": [{"type": "text", "text": _LINE * 10}], "isError": False}
_SEEN: Final = itertools.count(1)
_ASKED: Final = [0]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        await lifespan(receive, send)
        return
    body = await body_of(receive)
    if scope["path"] == COUNTED:
        await _whole(send, 200, b"%d" % _ASKED[0])
        return
    number = b"%010d" % next(_SEEN)
    if scope["path"].startswith("/mcp"):
        await _mcp(scope, body, number, send)
        return
    _ASKED[0] += scope["method"] == "POST"
    if b'"stream":true' in body.replace(b'": ', b'":'):
        await _head(send, 200, b"text/event-stream")
        for event in _EVENTS:
            piece = event.replace(_NUMBER, number)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # each event is a write of its own, as a model's tokens are
        await send({"type": "http.response.body", "body": b""})
    else:
        await _whole(send, 200, _ANSWER.replace(_NUMBER, number))


async def _mcp(scope: Any, body: bytes, number: bytes, send: Any) -> None:
    if scope["method"] != "POST":
        await _whole(send, 405, b"{}")
        return
    asked = msgspec.json.decode(body)
    if "id" not in asked:
        await _whole(send, 202, b"")
        return
    modern = VERSION_KEY in asked.get("params", {}).get("_meta", {})
    result = _result(asked["method"], modern=modern)
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
    await _whole(send, 200, msgspec.json.encode(answer).replace(_NUMBER, number))


def _result(method: str, *, modern: bool) -> dict[str, Any]:
    about: dict[str, Any] = {
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "bench", "version": "1"},
    }
    known: dict[str, dict[str, Any]] = {
        "initialize": about | {"protocolVersion": LEGACY},
        "server/discover": about | {"supportedVersions": list(MODERN_VERSIONS)},
        "tools/list": {"tools": [_DESCRIBED]},
        "tools/call": _FOUND,
    }
    said = known.get(method, {})
    return said | {"resultType": "complete"} if modern else said


async def _head(send: Any, status: int, kind: bytes, size: int | None = None) -> None:
    headers = [(b"content-type", kind)]
    if size is not None:
        headers.append((b"content-length", b"%d" % size))
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _whole(send: Any, status: int, body: bytes) -> None:
    await _head(send, status, b"application/json", len(body))
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve(app)
