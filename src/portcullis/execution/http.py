"""The HTTP forwarder: one aiohttp session, shared by all upstreams, with reused connections.

What keeps it cheap: addresses parsed once, no cookie jar, no automatic headers, no decompression,
no tracing, and one timer of our own per exchange in place of aiohttp's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource, UpstreamRequest
from portcullis.execution.credential import Credential
from portcullis.execution.endpoint import BEARER, Addresses, Endpoint
from portcullis.execution.response import HttpResponse
from portcullis.execution.watch import Watch

_OURS: Final = frozenset(
    {
        # we alone say who we are
        *("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "host"),
        # they speak of the connection, which is ours
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"),
        *("transfer-encoding", "content-length", "content-encoding", "accept-encoding"),
    }
)
_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class _Upstream:
    """One endpoint at run time: its addresses, its credential, what is in flight to it."""

    __slots__ = ("addresses", "credential", "endpoint", "in_flight")

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.addresses = Addresses(name, endpoint.url)
        self.endpoint = endpoint
        self.credential: Credential | None = None
        self.in_flight = 0

    def authenticate(self, secrets: SecretSource) -> Credential | None:
        """Resolve the credential anew, so that a rotation takes effect at the next call."""
        if self.endpoint.credential is None:
            return None
        value = secrets.resolve(self.endpoint.credential)
        if self.credential is None or self.credential.value != value:
            self.credential = Credential(value)
        return self.credential

    def done(self) -> None:
        """Give back the place that an exchange took."""
        self.in_flight -= 1


class HttpForwarder:
    """The ``Forwarder`` over HTTP/1.1; see the port for its promises.

    Beyond them ``send`` raises Problem PC5003 (a redirect, a compressed answer, a malformed
    head), PC5004 (an announced length beyond the limit), PC5005 (the credential in the head) and
    PC1010 (a path that would leave the upstream's address). ``limits.calls_in_flight`` holds for
    each upstream. The session is made at the first send, on the loop that sends.
    """

    def __init__(
        self, endpoints: Mapping[str, Endpoint], *, secrets: SecretSource, limits: Limits
    ) -> None:
        self._upstreams = {name: _Upstream(name, found) for name, found in endpoints.items()}
        self._secrets = secrets
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: UpstreamRequest) -> HttpResponse:
        """Send one request and return when the head of its answer is there."""
        upstream = self._upstreams.get(request.upstream)
        if upstream is None:
            raise Problem("PC5012", f"no upstream {request.upstream} is configured")
        if self._closed:
            raise Problem("PC5013", "the forwarder is closed")
        if upstream.in_flight >= self._limits.calls_in_flight:
            raise Problem("PC5006", f"{upstream.in_flight} calls to {request.upstream} in flight")
        url = upstream.addresses.join(request.path)
        headers = CIMultiDict([pair for pair in request.headers if pair[0].lower() not in _OURS])
        headers["Accept-Encoding"] = "identity"
        credential = upstream.authenticate(self._secrets)
        if credential is not None:
            name = upstream.endpoint.header
            headers[name] = f"Bearer {credential.value}" if name == BEARER else credential.value
        upstream.in_flight += 1
        try:
            raw, watch = await self._head(request, url, headers)
        except BaseException:
            upstream.done()
            raise
        response = HttpResponse(
            raw, credential=credential, limits=self._limits, watch=watch, done=upstream.done
        )
        try:
            response.check()
        except Problem:
            response.close()
            raise
        return response

    async def _head(
        self, request: UpstreamRequest, url: URL, headers: CIMultiDict[str]
    ) -> tuple[aiohttp.ClientResponse, Watch]:
        """Send and wait for the answer's head; the watch goes on to time the body."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        cancelling = task.cancelling()
        watch = Watch(self._limits.request_seconds, task.cancel)
        try:
            raw = await self._open().request(
                request.method,
                url,
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
            )
        except BaseException as error:
            watch.cancel()
            if isinstance(error, asyncio.CancelledError):
                if watch.expired and task.uncancel() <= cancelling:
                    raise Problem("PC5002", "the upstream did not begin to answer") from None
            elif isinstance(error, (aiohttp.ClientError, OSError, ValueError)):
                raise _unanswered(error) from None
            raise
        return raw, watch

    async def close(self) -> None:
        """Close all connections; sends after that are refused."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._limits.connect_seconds),
                auto_decompress=False,
                skip_auto_headers=_AUTOMATIC,
            )
            # aiohttp sends GET and DELETE again when a reused connection breaks; we never do.
            self._session._retry_connection = False  # noqa: SLF001 - it has no public switch
        return self._session


def _unanswered(error: Exception) -> Problem:
    """Say why there is no answer, without the library's text: it names hosts and headers."""
    if isinstance(error, aiohttp.ClientResponseError):
        return Problem("PC5003", "the upstream's answer is not HTTP that we accept")
    if isinstance(error, ValueError):
        return Problem("PC1011", "a header cannot be sent")
    if isinstance(error, TimeoutError):
        return Problem("PC5001", "no connection to the upstream in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Problem("PC5001", "no connection to the upstream")
    return Problem("PC5001", "the upstream broke the connection before it answered")
