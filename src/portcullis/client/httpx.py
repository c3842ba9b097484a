"""httpx through the gate: a transport that carries SVID and bound token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import httpx2

from portcullis.client.gate import Access, Link
from portcullis.client.tokens import delegation_in
from portcullis.core.errors import Problem
from portcullis.wire.json import encode

_UNAUTHORIZED: Final = 401


class Transport(httpx2.AsyncBaseTransport):
    """A transport for requests to the gate, and to it alone.

    For ``httpx2.AsyncClient(transport=...)``, and so for whatever takes such a client, as
    ``openai.AsyncOpenAI(http_client=...)`` and MCP's ``streamable_http_client`` do. Each request
    goes over a connection under the SVID of now, with a token bound to that. A delegation (a
    session's token) is exchanged for one: ``delegation``, or what stands in the request's own
    ``Authorization: Bearer`` or ``x-api-key``; a placeholder there is replaced. A request that
    the gate refused with 401 is sent once more, with a fresh token, when its body is bytes. The
    gate's refusal of a token is the answer to the request; no answer is ``httpx2.ConnectError``.
    """

    def __init__(self, access: Access, *, delegation: str = "") -> None:
        self._access = access
        self._origin = _origin(httpx2.URL(access.url))
        self._delegation = delegation
        self._pool: _Pool | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        if _origin(request.url) != self._origin:
            raise httpx2.UnsupportedProtocol("credentials go to the gate alone", request=request)
        try:
            response, token = await self._send(request, "")
            if response.status_code != _UNAUTHORIZED or not _replayable(request.stream):
                return response
            await response.aclose()
            return (await self._send(request, token))[0]
        except Problem as problem:
            if problem.code.startswith("PC7"):
                raise httpx2.ConnectError(str(problem), request=request) from None
            return httpx2.Response(
                problem.status,
                headers={"content-type": "application/problem+json"},
                content=encode(problem.document()),
            )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.transport.aclose()

    async def _send(self, request: httpx2.Request, spent: str) -> tuple[httpx2.Response, str]:
        headers = request.headers.copy()
        shown = [headers.get(name, "") for name in ("authorization", "x-api-key")]
        for name in ("authorization", "x-api-key"):
            headers.pop(name, None)
        link = self._access.link()
        granted = await link.grant(
            request.method,
            str(request.url.copy_with(query=None, fragment=None)),
            delegation_in(*shown) or self._delegation,
            spent=spent,
        )
        headers.update(granted.headers)
        sent = httpx2.Request(  # a copy: the caller's own may end up in a log
            request.method,
            request.url,
            headers=headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        pool = await self._leased(link)
        try:
            response = await pool.transport.handle_async_request(sent)
        except BaseException:
            await pool.give_back()
            raise
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Leased(response.stream, pool)
        return response, granted.token

    async def _leased(self, link: Link) -> _Pool:
        old = None
        if self._pool is None or self._pool.link is not link:
            old, self._pool = self._pool, _Pool(link)
        pool = self._pool
        pool.users += 1
        if old is not None:
            await old.retire()
        return pool


class _Pool:
    """The connections of one link; they close when it is retired and nobody uses them."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.users = 0
        self._retired = False
        tls = link.context
        self.transport = httpx2.AsyncHTTPTransport(
            verify=True if tls is None else tls, trust_env=False
        )

    async def give_back(self) -> None:
        """One user less."""
        self.users -= 1
        if self._retired and not self.users:
            await self.transport.aclose()

    async def retire(self) -> None:
        """Take no new requests."""
        self._retired = True
        if not self.users:
            await self.transport.aclose()


class _Leased(httpx2.AsyncByteStream):
    """An answer's body, which gives its pool back when it is closed."""

    def __init__(self, stream: httpx2.AsyncByteStream, pool: _Pool) -> None:
        self._stream = stream
        self._pool: _Pool | None = pool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if self._pool is not None:
                pool, self._pool = self._pool, None
                await pool.give_back()


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _replayable(stream: object) -> bool:
    return isinstance(stream, httpx2.ByteStream)
