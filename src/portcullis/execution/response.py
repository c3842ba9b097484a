"""An upstream's answer: bounded in size and time, without the credential it was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp
from multidict import CIMultiDictProxy

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.execution.credential import Credential, ReflectionGuard, reflected
from portcullis.execution.watch import Watch

_WITHHELD: Final = frozenset(
    {
        # RFC 9110 section 7.6.1: they speak of the connection, not of the answer
        *("connection", "keep-alive", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
        # they are for whoever holds the upstream's credential, which is us
        *("set-cookie", "set-cookie2", "authorization", "proxy-authorization"),
        *("www-authenticate", "proxy-authenticate", "authentication-info"),
        *("proxy-authentication-info", "x-api-key", "api-key"),
        # they would lead the client around the gate
        *("alt-svc", "location", "content-location", "refresh", "link"),
        # what it said is undone: we refuse compressed answers
        "content-encoding",
    }
)


class HttpResponse:
    """The ``UpstreamResponse`` of the HTTP forwarder; see the port for its promises.

    ``done`` is called once, when the exchange has ended in any way.
    """

    __slots__ = ("_closed", "_credential", "_done", "_limits", "_raw", "_watch", "headers",
                 "status")  # fmt: skip

    def __init__(
        self,
        raw: aiohttp.ClientResponse,
        *,
        credential: Credential | None,
        limits: Limits,
        watch: Watch,
        done: Callable[[], None],
    ) -> None:
        self._raw = raw
        self._credential = credential
        self._limits = limits
        self._watch = watch
        self._done = done
        self._closed = False
        self.status = raw.status
        self.headers = _clean(raw.headers)
        watch.redirect(self._abort)

    def check(self) -> None:
        """Refuse a head that cannot be passed on: Problem PC5003, PC5004 or PC5005."""
        raw = self._raw
        if self._credential is not None and self._credential.found_in(
            b"\n".join([b"\n".join(pair) for pair in raw.raw_headers])
        ):
            raise reflected()
        if not 200 <= raw.status < 300 and not 400 <= raw.status < 600:  # noqa: PLR2004 - RFC 9110 section 15
            raise Problem("PC5003", f"the upstream answered with status {raw.status}")
        coding = raw.headers.get("content-encoding", "identity")
        if coding.strip().lower() not in {"", "identity"}:
            raise Problem("PC5003", "the upstream compressed its answer, which it was asked not to")
        length = self.headers.get("content-length")
        if length is not None:
            if "transfer-encoding" in raw.headers:  # RFC 9112 section 6.3: response smuggling
                raise Problem("PC5003", "the answer has both Content-Length and Transfer-Encoding")
            if not length.isdigit():
                raise Problem("PC5003", "the answer's Content-Length is not a number")
            if int(length) > self._limits.result_bytes:
                raise self._too_large()

    async def read(self) -> bytes:
        """Return the whole body, then close."""
        content = self._raw.content
        pieces: list[bytes] = []
        size = 0
        try:
            while True:
                piece = await content.readany()
                if not piece:
                    break
                size += len(piece)
                if size > self._limits.result_bytes:
                    raise self._too_large()
                pieces.append(piece)
                if content.at_eof():
                    break
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._credential is not None and self._credential.found_in(body):
                raise reflected()
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed() from error
        finally:
            self.close()
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, then close."""
        guard = None if self._credential is None else ReflectionGuard(self._credential)
        watch, content = self._watch, self._raw.content
        watch.stream(self._limits.stream_seconds, self._limits.idle_seconds, self._abort)
        size = 0
        try:
            while True:
                watch.wait()
                piece = await content.readany()
                watch.heard()
                if not piece:
                    break
                size += len(piece)
                if size > self._limits.result_bytes:
                    raise self._too_large()
                if guard is not None:
                    piece = guard.feed(piece)
                if piece:
                    yield piece
            if guard is not None and (piece := guard.end()):
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed() from error
        finally:
            self.close()

    def close(self) -> None:
        """End the exchange: a complete answer leaves its connection for reuse, others abort."""
        if self._closed:
            return
        self._closed = True
        self._watch.cancel()
        self._abort()
        self._done()

    def _abort(self) -> None:
        # aiohttp lets go of the connection at the end of the body: then there is none here.
        connection = self._raw.connection
        if connection is None:
            return
        if connection.transport is not None:
            connection.transport.abort()
        self._raw.close()

    def _too_large(self) -> Problem:
        return Problem("PC5004", f"the answer exceeds {self._limits.result_bytes} bytes")

    def _failed(self) -> Problem:
        if self._watch.expired:
            return Problem("PC5002", "the upstream fell silent or took too long over its answer")
        if self._closed:
            return Problem("PC5008", "the answer was closed while it was being read")
        return Problem("PC5008", "the upstream broke off its answer")


def _clean(raw: CIMultiDictProxy[str]) -> dict[str, str]:
    """Return the headers that speak of the answer, lower-cased, repeated ones joined."""
    headers: dict[str, str] = {}
    for name, value in raw.items():
        key = name.lower()
        if key in _WITHHELD or not value.isascii():
            continue
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    for value in raw.getall("connection", ()):
        for name in value.split(","):
            headers.pop(name.strip().lower(), None)
    return headers
