"""A raw server that misbehaves as it is told, and forwarders that talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from portcullis.config import Limits
from portcullis.core.ports import UpstreamRequest
from portcullis.execution.endpoint import API_KEY, Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.secrets import local_secrets

Script = Callable[["RawServer", bytes, asyncio.StreamWriter], Awaitable[Any]]


class RawServer:
    """Reads one request at a time and lets ``script`` write whatever it likes."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.ended = asyncio.Event()
        self.script: Script = self.ok
        self.url = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        return server

    @staticmethod
    async def ok(server: RawServer, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b'{"ok":true}'))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                request = head + await reader.readexactly(length)
                self.requests.append(request)
                await self.script(self, request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            self.ended.set()  # uvloop raises RuntimeError for a write to a closed transport
        finally:
            await ended(writer)


async def ended(writer: asyncio.StreamWriter) -> None:
    """Close a connection whatever its state, and take note of how it ended."""
    writer.close()
    with contextlib.suppress(OSError, RuntimeError):
        await writer.wait_closed()


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A well-formed answer with a Content-Length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*pieces: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the gate runs on; it differs from asyncio's in pipes and processes."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def wire() -> Any:
    """The functions that write answers."""

    class Wire:
        answer = staticmethod(answer)
        chunked = staticmethod(chunked)
        stream = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )

    return Wire


@pytest.fixture
async def upstream(anyio_backend: object) -> AsyncIterator[RawServer]:
    raw = RawServer()
    server = await raw.start()
    yield raw
    server.close()


@pytest.fixture
def credential() -> str:
    return "sk-" + secrets.token_urlsafe(24)


@pytest.fixture
def limits() -> Limits:
    return Limits(
        connect_seconds=0.5,
        request_seconds=0.4,
        idle_seconds=0.3,
        stream_seconds=1.0,
        result_bytes=4096,
        calls_in_flight=2,
    )


@pytest.fixture
async def forwarder(
    upstream: RawServer, credential: str, limits: Limits
) -> AsyncIterator[HttpForwarder]:
    made = HttpForwarder(
        {
            "bearer": Endpoint(url=upstream.url + "/base/", credential="env:KEY"),
            "keyed": Endpoint(url=upstream.url, credential="env:KEY", header=API_KEY),
            "open": Endpoint(url=upstream.url),
            "poor": Endpoint(url=upstream.url, credential="env:MISSING"),
            "nowhere": Endpoint(url="http://127.0.0.1:1"),
        },
        secrets=local_secrets({"KEY": credential}),
        limits=limits,
    )
    yield made
    await made.close()


@pytest.fixture
def call() -> Callable[..., UpstreamRequest]:
    def make(
        upstream: str = "bearer", path: str = "/v1/x", method: str = "POST", **changes: Any
    ) -> UpstreamRequest:
        body = changes.pop("body", b"{}" if method == "POST" else b"")
        return UpstreamRequest(
            upstream=upstream,
            method=method,
            path=path,
            headers=changes.pop("headers", (("content-type", "application/json"),)),
            body=body,
        )

    return make
