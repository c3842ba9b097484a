"""The other end of a request: the host, to which requests go over one connection, in turn."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Final

import h11

from portcullis.core.egress import Destination
from portcullis.core.egress_ports import Dialer
from portcullis.core.errors import Problem
from portcullis.gateway.bounded import MAX_HEAD
from portcullis.gateway.egress_stream import PIECE, Pace
from portcullis.wire.egress import written

_SWITCHED: Final = 101
_CRUMBS: Final = 2**14
_CRUMB: Final = 8
"""After so many pieces they have so many bytes on average: each is work for us, and none for it."""


class Answered:
    """The head of an answer. Names of headers are in lower case."""

    __slots__ = ("headers", "status")

    def __init__(self, event: h11.Response | h11.InformationalResponse) -> None:
        self.status = event.status_code
        self.headers = [
            (name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers
        ]


class Host:
    """Connects when the first request goes, to addresses that were judged; ``close`` it.

    A connection that was kept may be closed by the host at any time, so it is made anew for each
    request that is not the next at once: nothing is ever sent twice.
    """

    def __init__(
        self, dialer: Dialer, destination: Destination, agent: str, *, tls: bool, idle: float
    ) -> None:
        self._dialer = dialer
        self.destination = destination
        self._agent = agent
        self.tls = tls
        self._idle = idle
        self._reader: StreamReader | None = None
        self._writer: StreamWriter | None = None
        self._pace = Pace()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)

    async def ask(
        self, method: str, target: str, headers: Iterable[Sequence[str]], body: bytes
    ) -> Answered:
        """Send a request and read the head of its answer.

        Raises Problem PC5001 (nobody there), PC5002 (too slow), PC5003 (no HTTP), PC5051, PC5052.
        """
        await self._connected()
        try:
            request = h11.Request(method=method, target=target, headers=written(headers))
            data = self._http.send(request) or b""
            if body:
                data += self._http.send(h11.Data(data=body)) or b""
            data += self._http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError:
            raise Problem("PC1011", "the request cannot be written as HTTP/1.1") from None
        writer = self._open()[1]
        writer.write(data)
        with _broken():
            await writer.drain()
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return Answered(event)
            if isinstance(event, h11.InformationalResponse) and event.status_code == _SWITCHED:
                return Answered(event)
            if isinstance(event, h11.ConnectionClosed):
                raise Problem("PC5001", "the host closed the connection without an answer")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body of the answer, as it comes. Raises Problem PC5002, PC5003, PC5008."""
        count = size = 0
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                count, size = count + 1, size + len(event.data)
                if count > _CRUMBS and size < _CRUMB * count:
                    raise Problem("PC5003", "the answer comes in too many pieces of a few bytes")
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise Problem("PC5008", "the host broke its answer off")

    async def body(self, most: int) -> bytes:
        """The whole body. Problem PC5004 beyond ``most`` bytes."""
        found = bytearray()
        async for piece in self.pieces():
            found += piece
            if len(found) > most:
                raise Problem("PC5004", f"the answer is larger than {most} bytes")
        return bytes(found)

    def switched(self) -> tuple[StreamReader, StreamWriter, bytes]:
        """What carries another protocol from now on, and what has come of it already."""
        return *self._open(), self._http.trailing_data[0]

    def take(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Use a connection that was made already, by ``dial``, for the first request."""
        self._reader, self._writer = reader, writer

    def close(self) -> None:
        """Let the connection go at once."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connected(self) -> None:
        """A connection on which the next request may go."""
        if self._writer is not None and self._reader is not None:
            stands = not (self._writer.is_closing() or self._reader.at_eof())
            ours, theirs = self._http.our_state, self._http.their_state
            if stands and ours is theirs is h11.DONE:
                self._http.start_next_cycle()
                return
            if stands and ours is h11.IDLE:
                return
        self.close()
        where = self.destination
        addresses = await self._dialer.addresses(where.host, where.port, self._agent)
        self._reader, self._writer = await self._dialer.dial(
            where.host, where.port, addresses, tls=self.tls
        )
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)

    def _open(self) -> tuple[StreamReader, StreamWriter]:
        """Both ends of the connection. Problem PC5008 when there is none any more."""
        if self._reader is None or self._writer is None:
            raise Problem("PC5008", "the connection to the host was closed")
        return self._reader, self._writer

    async def _next(self) -> object:
        reader = self._open()[0]
        await self._pace.step()
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                raise Problem("PC5003", "the answer is not well-formed HTTP/1.1") from None
            if event is not h11.NEED_DATA:
                return event
            with _broken():
                async with asyncio.timeout(self._idle):
                    data = await reader.read(PIECE)
            self._http.receive_data(data)


@contextlib.contextmanager
def _broken() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise Problem("PC5002", "the host said nothing for too long") from None
    except OSError:
        raise Problem("PC5008", "the connection to the host broke") from None
