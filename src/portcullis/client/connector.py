"""The side process: plain HTTP on this machine in front, mutual TLS to the gate behind.

An unmodified client needs only its base URL. What it shows as its key is a placeholder, which is
replaced, or its session's delegation, which is exchanged for a bound token.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Protocol, cast

import aiohttp
import structlog
from aiohttp import web
from yarl import URL

from portcullis.client.accepting import accepting
from portcullis.client.aiohttp import session
from portcullis.client.ask import CUT, MUTE, unanswered, unlike
from portcullis.client.gate import Access
from portcullis.core.errors import Problem
from portcullis.wire.json import encode

log = structlog.get_logger(__name__)

KEY_HEADER: Final = "x-portcullis-key"
"""Where the local key may stand when ``Authorization`` holds a delegation."""

_REPLAYABLE: Final = 4 * 2**20
"""Bodies up to this size are read whole, so that a request can be sent again; bytes."""
_HOP: Final = frozenset(
    {
        "connection",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        KEY_HEADER,
    }
)
_CREDENTIALS: Final = ("authorization", "x-api-key")
_BACKLOG: Final = 1024
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_REFUSALS: Final = frozenset({401, 403})
_SEGMENT: Final = (
    r"(?!(?:\.|%2[eE])+(?:[/?]|$))(?:[\w.~!$&'()*+,;=:@-]|%(?!2[fF]|5[cC])[0-9A-Fa-f]{2})+"
)
"""Of a path: whatever an address may hold but no dots alone and no hidden slash (RFC 3986)."""
_CARRIED: Final = re.compile(
    rf"/(?:(?:openai|anthropic|mcp|v1/calls|v1/sessions)(?:/{_SEGMENT})*/?"
    r"|v1/bundle|bundles/portcullis\.tar\.gz)(?:\?.*)?",
    re.ASCII,
)
"""What is done with an identity. What *makes* one, or a token, is never done for a caller."""


class Kept(Access, Protocol):
    """What a connector stands on: a ``Gate``, or one ``Within`` a session."""

    def doubt(self) -> None: ...  # noqa: D102 - as of ``Gate``
    async def cut_off(self) -> Problem: ...  # noqa: D102 - as of ``Gate``


class Connector:
    """Serves on loopback or a Unix socket for as long as the gate lets its identity act.

    It answers only requests whose ``Host`` is its own address and whose ``Origin``, if any, is
    too (DNS rebinding). With ``key``, they have to show that as ``Authorization: Bearer``, as
    ``x-api-key`` or as ``X-Portcullis-Key``: on loopback any local process could ask. Nothing
    that passes through is logged. Only calls pass, of models, tools, the guard and sessions, and
    requests for bundles: with any other path, such as ``/v1/svid``, a caller could take the
    identity away for itself.

    More than ``most`` connections at once, if it is said, are closed as they come. A refusal with
    a code of ``ends`` has the gate asked whether it means us.
    """

    def __init__(
        self,
        gate: Kept,
        *,
        key: str = "",
        most: int | None = None,
        ends: frozenset[str] = CUT,
    ) -> None:
        self._gate = gate
        self._ends = re.compile("|".join(sorted(ends)).encode())
        self._key = key.encode()
        self._most = most
        self._hosts: frozenset[str] | None = None
        self._http: aiohttp.ClientSession | None = None

    async def run(self) -> Problem:
        """Serve until the gate has cut the identity off, or it has run out; that is why."""
        return await self._gate.cut_off()

    @contextlib.asynccontextmanager
    async def listening(self, where: str | socket.socket) -> AsyncIterator[str]:
        """Serve on ``HOST:PORT`` (loopback; port 0 for a free one), ``unix:PATH`` or a Unix socket.

        Yields the base URL. A request that runs at the end is cancelled. Raises Problem PC7004.
        """
        address, unix = where if isinstance(where, str) else "unix:", None
        if not isinstance(where, str):
            listener = where
        elif address.startswith("unix:"):
            unix = Path(address.removeprefix("unix:"))
            listener = _unix(unix)
        else:
            listener = _tcp(address)
            host, port = address.rpartition(":")[0], listener.getsockname()[1]
            address = f"http://{host}:{port}"
            self._hosts = frozenset(
                f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in _LOOPBACK
            )
        options: dict[str, Any] = {"access_log": None, "auto_decompress": False}
        server = web.Server(self._serve, handler_cancellation=True, **options)

        def serve() -> asyncio.BaseProtocol:
            full = self._most is not None and len(server.connections) >= self._most
            return _Closed() if full else server()

        runner = web.ServerRunner(server)
        async with session(
            self._gate,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
        ) as self._http:
            await runner.setup()
            try:
                with accepting(listener, serve):
                    yield address
            finally:
                await server.shutdown(0.1)
                await runner.cleanup()
                if unix is not None:
                    with contextlib.suppress(FileNotFoundError):  # whoever it is for took it away
                        os.unlink(unix)  # noqa: PTH108 - a moment, on our way out

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._check(request)
            return await self._forward(request)
        except Problem as problem:
            if problem.code in CUT or problem.code == MUTE:
                self._gate.doubt()
            return _refusal(problem)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            return _refusal(unlike(error))
        except (aiohttp.ClientError, TimeoutError) as error:
            self._gate.doubt()
            return _refusal(unanswered(error, self._gate.url))

    def _check(self, request: web.BaseRequest) -> None:
        if not request.raw_path.startswith("/"):
            raise Problem("PC1011", "the request's target is not a path")
        hosts = request.headers.getall("host", [])
        if self._hosts is not None and (len(hosts) != 1 or hosts[0].lower() not in self._hosts):
            raise Problem("PC1014", "Host is not the address of this connector")
        if any(not self._own(each) for each in request.headers.getall("origin", [])):
            raise Problem("PC1014", "Origin is not the address of this connector")
        if self._key and not self._knows(request):
            raise Problem("PC2001", "the connector's key is missing or wrong")
        if not _CARRIED.fullmatch(request.raw_path):
            raise Problem("PC1010", "the connector does not carry this path")

    def _own(self, page: str) -> bool:
        scheme, _, host = page.partition("://")
        return scheme == "http" and self._hosts is not None and host.lower() in self._hosts

    def _knows(self, request: web.BaseRequest) -> bool:
        found = False
        for name in (*_CREDENTIALS, KEY_HEADER):
            for value in request.headers.getall(name, []):
                found |= self._is_key(value.removeprefix("Bearer "))
        return found

    def _is_key(self, value: str) -> bool:
        return hmac.compare_digest(value.encode("utf-8", "surrogateescape"), self._key)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._http is None:
            raise Problem("PC9002", "the connector is not listening")
        async with self._http.request(
            request.method,
            URL(self._gate.url + request.raw_path, encoded=True),
            headers=self._passing(request),
            data=await _body(request),
            allow_redirects=False,
        ) as answer:
            return await self._pass_back(request, answer)

    def _passing(self, request: web.BaseRequest) -> list[tuple[str, str]]:
        """The headers that go to the gate: our own key does not."""
        headers = _end_to_end(request.headers)
        if not self._key:
            return headers
        return [
            (name, value)
            for name, value in headers
            if name.lower() not in _CREDENTIALS or not self._is_key(value.removeprefix("Bearer "))
        ]

    async def _pass_back(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            status=answer.status, reason=answer.reason, headers=_end_to_end(answer.headers)
        )
        refused = answer.status in _REFUSALS
        try:
            await response.prepare(request)
            async for part in answer.content.iter_any():
                if refused and self._ends.search(part):
                    self._gate.doubt()
                await response.write(part)
            await response.write_eof()
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()  # a clean end would say that this was all
        return response


class _Closed(asyncio.Protocol):
    """A connection for which there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


def _end_to_end(headers: Any) -> list[tuple[str, str]]:
    """All headers but those for one connection (RFC 9110 section 7.6.1)."""
    named = {
        name.strip().lower()
        for value in headers.getall("connection", [])
        for name in value.split(",")
    }
    return [
        (name, value)
        for name, value in headers.items()
        if name.lower() not in _HOP and name.lower() not in named
    ]


async def _body(request: web.BaseRequest) -> Any:
    """The body: bytes when it is small and of a known size, a stream otherwise."""
    if not request.can_read_body:
        return None
    length = request.content_length
    if length is None or length > _REPLAYABLE:
        return request.content.iter_any()
    return await request.content.read()


def _refusal(problem: Problem) -> web.Response:
    return web.Response(
        status=problem.status,
        body=encode(problem.document()),
        content_type="application/problem+json",
        headers={"cache-control": "no-store"},
    )


def _tcp(where: str) -> socket.socket:
    host, _, port = where.rpartition(":")
    if host.strip("[]") not in _LOOPBACK or not port.isdigit():
        raise Problem("PC7004", "--listen is HOST:PORT on loopback, such as 127.0.0.1:0")
    family = socket.AF_INET6 if "::" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise Problem("PC7004", f"cannot listen on {where}: {type(error).__name__}") from None


def _unix(path: Path) -> socket.socket:
    """A listening Unix socket for this user alone; one that nobody serves any more is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and _dead(path):
            path.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Problem("PC7004", f"cannot listen on {path}: {error.strerror}") from None
    return listener


def _dead(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False
