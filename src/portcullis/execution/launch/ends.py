"""One end of a connection that is carried: what comes in by it goes straight to the other.

No task reads and writes: a piece goes on in the turn of the loop in which it came. An end that
takes no more has the other read no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

_MOST_HELD: Final = 65536
"""Bytes that are held for whoever has no other end yet; then it is made to wait."""


class End(asyncio.Protocol):
    """``made`` is told of the connection, ``ended`` once of its end, or that it sends no more."""

    transport: asyncio.Transport

    def __init__(
        self,
        made: Callable[[End], object] | None = None,
        ended: Callable[[], object] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._made = made
        self.ended = ended
        self.other: End | None = None
        self.over: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._held = bytearray()
        self._come = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Protocol."""
        self.transport = cast("asyncio.Transport", transport)
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        """See Protocol."""
        other = self.other
        if other is not None:
            if not other.transport.is_closing():
                other.transport.write(data)
            return
        self._held += data
        self._come.set()
        if len(self._held) > _MOST_HELD:
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """See Protocol. A TLS stream has no half that ends alone: this ends both."""
        self._over()

    def connection_lost(self, exc: Exception | None) -> None:
        """See Protocol."""
        del exc
        self._over()
        if not self.lost.done():
            self.lost.set_result(None)
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()  # so that its end is seen

    def pause_writing(self) -> None:
        """See Protocol."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """See Protocol."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    @property
    def silent(self) -> bool:
        """Whether it stands, and nothing has come by it that was not taken."""
        return not (self._held or self.over.done() or self.transport.is_closing())

    async def some(self) -> bool:
        """Wait for bytes that are held; False when none come."""
        while not self._held and not self.over.done():
            self._come.clear()
            await self._come.wait()
        return bool(self._held)

    async def until(self, mark: bytes, most: int) -> bytes:
        """Take what comes up to a mark. Raises EOFError at the end, or when it takes too long."""
        while (at := self._held.find(mark)) < 0:
            await self._more(most)
        return self._taken(at + len(mark))

    async def exactly(self, size: int) -> bytes:
        """Take so many bytes. Raises EOFError at the end."""
        while len(self._held) < size:
            await self._more(size)
        return self._taken(size)

    def rest(self) -> bytes:
        """Take all that is held."""
        return self._taken(len(self._held))

    def join(self, other: End) -> None:
        """Carry between the two from now on, and first what was held."""
        self.other, other.other = other, self
        for source, target in ((self, other), (other, self)):
            if held := source.rest():
                target.transport.write(held)

    async def _more(self, most: int) -> None:
        if self.over.done() or len(self._held) > most:
            raise EOFError
        self._come.clear()
        await self._come.wait()

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        if not self.transport.is_closing():
            self.transport.resume_reading()
        return taken

    def _over(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
            self._come.set()
            if self.ended is not None:
                self.ended()


async def carried(one: End, other: End, seconds: float) -> None:
    """Carry until either has ended; what is on its way then has so long to get there.

    A cancellation cuts both at once.
    """
    one.join(other)
    try:
        await asyncio.wait((one.over, other.over), return_when=asyncio.FIRST_COMPLETED)
        for end in (one, other):
            end.transport.close()
        await asyncio.wait((one.lost, other.lost), timeout=seconds)
    finally:
        for end in (one, other):
            end.transport.abort()
