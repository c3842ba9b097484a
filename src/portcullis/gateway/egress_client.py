"""One client of the proxy as HTTP/1.1 has it (RFC 9112), over whatever carries its bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final

import h11

from portcullis.core.errors import Problem
from portcullis.gateway.bounded import MAX_HEAD
from portcullis.gateway.egress_stream import Pace, Stream
from portcullis.wire import ratelimit
from portcullis.wire.egress import written
from portcullis.wire.json import encode

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_PROBLEM: Final = "application/problem+json"
_UNAUTHORIZED: Final = 401
_PROXY: Final = 407
"""What a proxy says in its place (RFC 9110 section 15.5.8)."""


def _reason(status: int) -> bytes:
    """The phrase of a status, for people; of an unknown one there is none."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


class Asked:
    """A request's head. Names of headers are in lower case."""

    __slots__ = ("headers", "method", "target")

    def __init__(self, event: h11.Request) -> None:
        self.method = event.method.decode("ascii")
        self.target = event.target.decode("latin-1")
        self.headers = [
            (name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers
        ]


class HttpClient:
    """Reads requests and writes answers, one after the other.

    ``started`` says that an answer to the request that is served has begun.
    """

    def __init__(self, stream: Stream, seconds: float) -> None:
        self.stream = stream
        self.started = False
        self._seconds = seconds
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    async def asked(self, idle: float) -> Asked | None:
        """The next request, for which it is waited ``idle`` seconds; None when there is none.

        Raises Problem PC1011 for what is no request, PC1012 for one that takes too long.
        """
        begun, loop = False, asyncio.get_running_loop()
        until = loop.time() + idle
        try:
            while True:
                event = self._event()
                if isinstance(event, h11.Request):
                    return Asked(event)
                if isinstance(event, h11.ConnectionClosed):
                    return None
                async with asyncio.timeout_at(until):
                    data = await self.stream.read()
                if not begun:
                    begun, until = True, loop.time() + self._seconds
                self._http.receive_data(data)
        except TimeoutError:
            if not begun:
                return None
            raise Problem("PC1012", f"the request took longer than {self._seconds:g} s") from None

    async def body(self, most: int) -> bytes:
        """The whole body. Raises Problem PC1007 for more, PC1011, PC1012, PC5014 (it left)."""
        pieces = bytearray()
        pace = Pace()
        try:
            async with asyncio.timeout(self._seconds):
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                while True:
                    await pace.step()
                    event = self._event()
                    if event is h11.NEED_DATA:
                        self._http.receive_data(await self.stream.read())
                    elif isinstance(event, h11.Data):
                        pieces += event.data
                        if len(pieces) > most:
                            raise Problem("PC1007", f"the body is larger than {most} bytes")
                    else:
                        return bytes(pieces)
        except TimeoutError:
            raise Problem("PC1012", f"the request took longer than {self._seconds:g} s") from None

    async def answer(
        self, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """A whole answer."""
        length = () if status == 204 else (("content-length", str(len(body))),)  # noqa: PLR2004
        await self.begin(status, (*headers, *length))
        await self.piece(body)
        await self.end()

    async def begin(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """The head of an answer; without a length, it comes in chunks."""
        self.started = True
        await self._send(
            h11.Response(status_code=status, headers=written(headers), reason=_reason(status))
        )

    async def piece(self, data: bytes) -> None:
        """More of its body."""
        if data:
            await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """It is complete."""
        await self._send(h11.EndOfMessage())

    def establish(self, put: Callable[[bytes], object]) -> None:
        """Let a CONNECT through, by ``put``, which takes the answer at once."""
        self.started = True
        put(_ESTABLISHED)

    async def established(self) -> bytes:
        """Let a CONNECT through, unless it has been; what the client sent with it."""
        if not self.started:
            self.started = True
            await self.stream.write(_ESTABLISHED)
        return self._http.trailing_data[0]

    async def switched(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Go over to another protocol (101); what the client has sent since."""
        self.started = True
        await self._send(h11.InformationalResponse(status_code=101, headers=written(headers)))
        return self._http.trailing_data[0]

    async def refuse(self, problem: Problem, extra: Iterable[tuple[str, str]] = ()) -> None:
        """Answer with a problem document (RFC 9457), the last on this connection."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        body = encode(problem.document())
        told = [(n.decode(), v.decode()) for n, v in ratelimit.refused(problem)]
        headers = (("content-type", _PROBLEM), ("connection", "close"), *told, *extra)
        status = _PROXY if problem.status == _UNAUTHORIZED else problem.status
        await self.answer(status, headers, body)

    def again(self) -> bool:
        """Make ready for the next request; False when this was the last."""
        done = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if done:
            self._http.start_next_cycle()
            self.started = False
        return done

    def _event(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError:
            raise Problem("PC1011", "the bytes are not a well-formed HTTP/1.1 request") from None

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self.stream.write(data)
