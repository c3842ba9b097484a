"""The HTTP forwarder: decided requests go out over HTTP/1.1 connections of our own.

Why not a library's client: docs/decisions/006-own-upstream-client.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.core.grant_ports import UserTokens
from portcullis.core.ports import SecretSource, UpstreamRequest
from portcullis.execution.answer import Answer
from portcullis.execution.connection import Connection
from portcullis.execution.endpoint import Addresses, Endpoint
from portcullis.execution.oauth.filler import UserFiller
from portcullis.execution.oauth.tokens import Unconnected
from portcullis.execution.pool import Pool
from portcullis.execution.request import RequestWriter
from portcullis.execution.response import HttpResponse
from portcullis.execution.secrets.broker import SecretBroker, Unnoted
from portcullis.execution.secrets.inject import Filled, Filler
from portcullis.execution.tls import Tls, upstream_tls


class _Upstream:
    """One endpoint at run time: its credentials, its connections, what is in flight to it."""

    __slots__ = ("filler", "in_flight", "pool", "writer")

    def __init__(self, filler: Filler | UserFiller, pool: Pool, writer: RequestWriter) -> None:
        self.filler = filler
        self.in_flight = 0
        self.pool = pool
        self.writer = writer

    def done(self, connection: Connection) -> None:
        """Give back the connection and the place of an exchange."""
        self.in_flight -= 1
        self.pool.give(connection)


class HttpForwarder:
    """The ``Forwarder`` over HTTP/1.1; see the port for its promises.

    Beyond them ``send`` raises Problem PC5003 (a redirect, a compressed answer, a malformed
    head), PC5004 (an announced length beyond the limit), PC5005 (the credential in the head),
    PC1010 (a path that would leave the upstream's address) and PC1011 (a header that cannot be
    sent). ``limits.calls_in_flight`` holds for each upstream; ``limits.request_seconds`` count
    from when the request is written. Connections are made on the loop that sends. ``tls`` says
    how each endpoint is verified and what it is shown; by default it is shown nothing. Credentials
    come from ``secrets`` anew for each request, so that a rotation takes effect at once; what a
    plain source gives out is not noted. Endpoints with ``oauth`` get ``tokens`` and nothing else.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        secrets: SecretSource | SecretBroker,
        limits: Limits,
        tls: Callable[[Endpoint], Tls] | None = None,
        tokens: UserTokens | None = None,
    ) -> None:
        broker = secrets if isinstance(secrets, SecretBroker) else Unnoted(secrets)
        self._limits = limits
        self._closed = False
        self._upstreams: dict[str, _Upstream] = {}
        choose = tls or upstream_tls()
        connect_seconds = min(limits.connect_seconds, limits.request_seconds)
        for name, endpoint in endpoints.items():
            addresses = Addresses(name, endpoint.url)
            pool = Pool(addresses, tls=choose(endpoint), connect_seconds=connect_seconds)
            filler: Filler | UserFiller
            if endpoint.oauth is not None:
                filler = UserFiller(endpoint.oauth, tokens or Unconnected())
            else:
                filler = Filler(name, endpoint.injections(), broker)
            self._upstreams[name] = _Upstream(filler, pool, RequestWriter(addresses))

    async def send(self, request: UpstreamRequest) -> HttpResponse:
        """Send one request and return when the head of its answer is there."""
        upstream = self._upstreams.get(request.upstream)
        if upstream is None:
            raise Problem("PC5012", f"no upstream {request.upstream} is configured")
        if self._closed:
            raise Problem("PC5013", "the forwarder is closed")
        limits = self._limits
        if upstream.in_flight >= limits.calls_in_flight:
            raise Problem("PC5006", f"{upstream.in_flight} calls to {request.upstream} in flight")
        upstream.in_flight += 1
        try:
            filled = await upstream.filler.fill(request)
            connection, answer = await self._asked(upstream, request, filled)
        except BaseException:
            upstream.in_flight -= 1
            raise
        if answer.status in upstream.filler.refusals and filled.leases:
            try:
                newer = await upstream.filler.newer(request, filled.leases)
            except BaseException:
                connection.abort()
                upstream.done(connection)
                raise
            if newer:
                connection.abort()
                upstream.pool.give(connection)
                try:
                    filled = await upstream.filler.fill(request, newer)
                    connection, answer = await self._asked(upstream, request, filled)
                except BaseException:
                    upstream.in_flight -= 1
                    raise
        try:
            return HttpResponse(
                connection, answer, credential=filled.guard, limits=limits, done=upstream.done
            )
        except BaseException:
            connection.abort()
            upstream.done(connection)
            raise

    async def _asked(
        self, upstream: _Upstream, request: UpstreamRequest, filled: Filled
    ) -> tuple[Connection, Answer]:
        """Write a request and wait for its answer's head."""
        limits = self._limits
        data = upstream.writer.write(
            request, filled.lines, query=filled.query, body=filled.body, replaced=filled.replaced
        )
        connection = upstream.pool.take() or await upstream.pool.connect()
        try:
            answer = await connection.ask(
                data, seconds=limits.request_seconds, limit=limits.result_bytes
            )
        except BaseException:
            connection.abort()
            upstream.pool.give(connection)
            raise
        return connection, answer

    async def close(self) -> None:
        """Close all connections; sends after that are refused."""
        self._closed = True
        for upstream in self._upstreams.values():
            upstream.filler.close()
            upstream.pool.close()
        await asyncio.sleep(0)  # lets the loop close the sockets
