"""The HTTP forwarder: decided requests go out over HTTP/1.1 connections of our own.

Why not a library's client: docs/decisions/006-own-upstream-client.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource, UpstreamRequest
from portcullis.execution.connection import Connection
from portcullis.execution.credential import Credential
from portcullis.execution.endpoint import BEARER, Addresses, Endpoint
from portcullis.execution.pool import Pool
from portcullis.execution.request import RequestWriter, field
from portcullis.execution.response import HttpResponse
from portcullis.execution.tls import Tls, upstream_tls


class _Upstream:
    """One endpoint at run time: its credential, its connections, what is in flight to it."""

    __slots__ = ("_endpoint", "_line", "credential", "in_flight", "pool", "writer")

    def __init__(self, endpoint: Endpoint, pool: Pool, writer: RequestWriter) -> None:
        self._endpoint = endpoint
        self._line = ""
        self.credential: Credential | None = None
        self.in_flight = 0
        self.pool = pool
        self.writer = writer

    def authenticate(self, secrets: SecretSource) -> str:
        """Return the credential's header line, if there is one.

        It is resolved anew at each call, so that a rotation takes effect at once.
        """
        reference, header = self._endpoint.credential, self._endpoint.header
        if reference is not None:
            value = secrets.resolve(reference)
            if self.credential is None or self.credential.value != value:
                self.credential = Credential(value)
                self._line = field(header, f"Bearer {value}" if header == BEARER else value)
        return self._line

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
    how each endpoint is verified and what it is shown; by default it is shown nothing.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        secrets: SecretSource,
        limits: Limits,
        tls: Callable[[Endpoint], Tls] | None = None,
    ) -> None:
        self._secrets = secrets
        self._limits = limits
        self._closed = False
        self._upstreams: dict[str, _Upstream] = {}
        choose = tls or upstream_tls()
        connect_seconds = min(limits.connect_seconds, limits.request_seconds)
        for name, endpoint in endpoints.items():
            addresses = Addresses(name, endpoint.url)
            pool = Pool(addresses, tls=choose(endpoint), connect_seconds=connect_seconds)
            self._upstreams[name] = _Upstream(endpoint, pool, RequestWriter(addresses))

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
        data = upstream.writer.write(request, upstream.authenticate(self._secrets))
        credential = upstream.credential
        upstream.in_flight += 1
        try:
            connection = upstream.pool.take() or await upstream.pool.connect()
        except BaseException:
            upstream.in_flight -= 1
            raise
        try:
            answer = await connection.ask(
                data, seconds=limits.request_seconds, limit=limits.result_bytes
            )
            return HttpResponse(
                connection, answer, credential=credential, limits=limits, done=upstream.done
            )
        except BaseException:
            connection.abort()
            upstream.done(connection)
            raise

    async def close(self) -> None:
        """Close all connections; sends after that are refused."""
        self._closed = True
        for upstream in self._upstreams.values():
            upstream.pool.close()
        await asyncio.sleep(0)  # lets the loop close the sockets
