"""HTTP as the hot routes see it: plain ASGI, one header rule, bounded bodies (RFC 9110, 9112)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from portcullis.core.errors import Problem
from portcullis.core.trace import Trace, new_trace, trace_of
from portcullis.gateway.live import Connection

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LISTS: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"cookie",
        b"forwarded",
        b"te",
        b"tracestate",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
"""Headers that may stand in a request more than once; the gate decides on none of them but
``accept``, whose lines are joined."""

_NAMED: Final = frozenset(
    {
        b"anthropic-beta",
        b"anthropic-version",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"dpop",
        b"host",
        b"idempotency-key",
        b"last-event-id",
        b"mcp-method",
        b"mcp-name",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"openai-beta",
        b"origin",
        b"traceparent",
        b"transfer-encoding",
        b"x-api-key",
    }
)
"""Headers that a refusal names. Any other name is the caller's own text, and stands in no log."""

_LOCAL_ORIGIN: Final = re.compile(rb"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")


class Request:
    """A request's head. ``headers`` has lower-case names, each with its one value.

    Call ``check`` before anything is read from it. ``started`` says that its answer has begun,
    under the HTTP ``status``; ``trace`` takes its spans, if it is traced;
    ``connection`` is what it came on (``gateway.live``), if the listener says so.
    """

    __slots__ = (
        "_flaw",
        "_send",
        "connection",
        "headers",
        "method",
        "path",
        "receive",
        "scope",
        "source",
        "started",
        "status",
        "trace",
        "trace_id",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self.started = False
        self.status = 0
        self.trace: Trace | None = None
        self.connection: Connection | None = scope.get("portcullis.connection")
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        client = scope.get("client")
        self.source = f"{client[0]}:{client[1]}" if client else "unix"
        headers: dict[bytes, bytes] = {}
        self.headers = headers
        self._flaw: Problem | None = None
        for name, value in scope["headers"]:
            if name not in headers:
                headers[name] = value
            elif name in _LISTS:
                headers[name] += b", " + value
            else:
                code = "PC1032" if name.startswith(b"mcp-") else "PC1011"
                self._flaw = Problem(code, f"{_named(name)} occurs twice")
        if b"transfer-encoding" in headers and b"content-length" in headers:
            self._flaw = Problem("PC1011", "both Content-Length and Transfer-Encoding")
        origin = headers.get(b"origin")
        if origin is not None and not _LOCAL_ORIGIN.fullmatch(origin):
            self._flaw = Problem("PC1014", "the Origin is a foreign web page")
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        self.trace_id = trace_of(parent) or new_trace()

    async def send(self, message: Message) -> None:
        """Send a part of the answer (ASGI)."""
        if not self.started:
            self.started, self.status = True, message.get("status", 0)
        await self._send(message)

    def check(self) -> None:
        """Raise Problem PC1011 or PC1032 on headers that two readers could read in two ways.

        And PC1014 for a request that a foreign web page made (DNS rebinding; MCP, transports).
        """
        if self._flaw is not None:
            raise self._flaw

    def header(self, name: bytes) -> bytes | None:
        """The value of a header by its lower-case name."""
        return self.headers.get(name)

    def text(self, name: bytes) -> str | None:
        """The value of a header as text; Problem PC1011 when it is not visible ASCII."""
        value = self.headers.get(name)
        if value is None:
            return None
        if not value.isascii() or not value.decode("ascii").isprintable():
            raise Problem("PC1011", f"{_named(name)} is not printable ASCII")
        return value.decode("ascii")

    async def json_body(self, limit: int) -> bytes:
        """The body of a JSON request: Problem PC1008, PC1013 or those of ``read_body``."""
        kind = self.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":
            raise Problem("PC1008", "the body must be application/json")
        if self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Problem("PC1013", "the body is compressed")
        length = self.headers.get(b"content-length")
        if length is not None and (not length.isdigit() or int(length) > limit):
            raise Problem("PC1007", f"the body is larger than {limit} bytes")
        return await read_body(self.receive, limit)


def _named(name: bytes) -> str:
    return f"the header {name.decode('ascii')}" if name in _NAMED else "a header"


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read a request's body; the listener bounds the time that it may take.

    Raises Problem PC1007 beyond ``limit`` bytes and ClientDisconnect when the peer goes away.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise Problem("PC1007", f"the body is larger than {limit} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class ClientDisconnect(Exception):  # noqa: N818 - an event, not an error of ours
    """The client went away; nobody is left to answer."""


async def send_head(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Start a response."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def send_json(
    send: Send,
    status: int,
    body: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    kind: bytes = b"application/json",
) -> None:
    """Send a whole response; ``body`` may be empty (202, 204)."""
    head = [
        *headers,
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if body:
        head.append((b"content-type", kind))
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
