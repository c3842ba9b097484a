"""An upstream's answer: bounded in size and time, without the credential it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.execution.answer import Answer
from portcullis.execution.connection import Connection
from portcullis.execution.credential import Credential, Credentials, ReflectionGuard, reflected

_LARGE: Final = 262_144
"""From this size on, in bytes, an answer is searched beside the loop."""
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

    A head that cannot be passed on is Problem PC5003, PC5004 or PC5005 here. ``done`` is called
    once, when the exchange has ended in any way: the connection is not touched after that.
    """

    __slots__ = ("_answer", "_closed", "_connection", "_credential", "_done", "_limits", "headers",
                 "status")  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        answer: Answer,
        *,
        credential: Credential | Credentials | None,
        limits: Limits,
        done: Callable[[Connection], None],
    ) -> None:
        self._answer = answer
        self._connection = connection
        self._credential = credential
        self._limits = limits
        self._done = done
        self._closed = False
        self.status = answer.status
        if credential is not None and credential.found_in(
            b"\n".join([b"\n".join(pair) for pair in answer.fields])
        ):
            raise reflected()
        if not 200 <= answer.status < 300 and not 400 <= answer.status < 600:  # noqa: PLR2004 - RFC 9110 section 15
            raise Problem("PC5003", f"the upstream answered with status {answer.status}")
        self.headers = _clean(answer.fields)
        length = self.headers.get("content-length")
        if length is not None and int(length) > limits.result_bytes:
            raise Problem("PC5004", f"the answer exceeds {limits.result_bytes} bytes")

    async def read(self) -> bytes:
        """Return the whole body, then close."""
        try:
            body = await self._piece()
            if not self._answer.complete or self._answer.waiting:
                pieces = [body]
                while piece := await self._piece():
                    pieces.append(piece)
                body = b"".join(pieces)
            if self._credential is not None and await _holds(self._credential, body):
                raise reflected()
        finally:
            self.close()
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, then close."""
        guard = None if self._credential is None else ReflectionGuard(self._credential)
        try:
            self._connection.watch.stream(self._limits.stream_seconds, self._limits.idle_seconds)
            while piece := await self._piece():
                if guard is not None:
                    piece = guard.feed(piece)
                if piece:
                    yield piece
            if guard is not None and (piece := guard.end()):
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """End the exchange: a complete answer leaves its connection for reuse, others abort."""
        if not self._closed:
            self._closed = True
            self._done(self._connection)

    async def _piece(self) -> bytes:
        if self._closed:
            raise Problem("PC5008", "the answer was closed while it was being read")
        return await self._connection.piece()


async def _holds(credential: Credential | Credentials, body: bytes) -> bool:
    """Look for the credential; in a large body beside the loop, which others wait for."""
    if len(body) < _LARGE:
        return credential.found_in(body)
    return await asyncio.to_thread(credential.found_in, body)


def _clean(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers that speak of the answer, lower-cased, repeated ones joined.

    Problem PC5003 for an answer that is compressed: it was asked not to be.
    """
    headers: dict[str, str] = {}
    hops = ""
    for raw_name, raw_value in fields:
        name, value = raw_name.lower().decode("ascii"), raw_value.decode("latin-1").strip(" \t")
        if name in _WITHHELD:
            if name == "connection":
                hops += f",{value}"
            elif name == "content-encoding" and value.lower() not in {"", "identity"}:
                raise Problem("PC5003", "the upstream compressed its answer, unasked")
        elif value.isascii():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    for hop in hops.split(","):
        headers.pop(hop.strip().lower(), None)
    return headers
