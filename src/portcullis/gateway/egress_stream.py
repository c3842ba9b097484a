"""Bytes in both directions of a client: as they come, or out of a TLS session that ends here."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from asyncio import StreamReader, StreamWriter
from typing import Protocol

from portcullis.core.errors import Problem

PIECE = 2**16
"""Most bytes that are read at once."""

_AT_ONCE = 16
"""Events, each some microseconds of work, after which everybody else has a turn."""


class Pace:
    """Has whoever sends many small pieces at once wait in line, so that nobody else waits."""

    def __init__(self) -> None:
        self._count = 0

    async def step(self) -> None:
        """Count one event."""
        self._count += 1
        if self._count % _AT_ONCE == 0:
            await asyncio.sleep(0)


class Stream(Protocol):
    """``read`` returns nothing at the end; ``write`` returns when the other side takes more.

    ``end`` says that nothing more comes, as far as the layer has a word for it.
    """

    async def read(self) -> bytes: ...  # noqa: D102 - see above
    async def write(self, data: bytes) -> None: ...  # noqa: D102 - see above
    async def end(self) -> None: ...  # noqa: D102 - see above


class PlainStream:
    """A connection as it is; ``put_back`` is read again before what comes.

    A client that takes nothing of what waits for it for ``stalled`` seconds is gone.
    """

    def __init__(self, reader: StreamReader, writer: StreamWriter, stalled: float = 60) -> None:
        self._reader = reader
        self._writer = writer
        self._stalled = stalled
        self._back = b""

    async def read(self) -> bytes:
        """See Stream."""
        if self._back:
            back, self._back = self._back, b""
            return back
        return await self._reader.read(PIECE)

    async def write(self, data: bytes) -> None:
        """See Stream."""
        self._writer.write(data)
        transport = self._writer.transport
        if not (transport.is_closing() or transport.get_write_buffer_size()):
            return  # it has gone: there is nothing to wait for
        try:
            async with asyncio.timeout(self._stalled):
                await self._writer.drain()
        except TimeoutError:
            raise BrokenPipeError("the client does not read") from None

    def put(self, data: bytes) -> None:
        """Write a little, and wait for nobody."""
        self._writer.write(data)

    async def end(self) -> None:
        """Whoever has the connection closes it."""

    def put_back(self, data: bytes) -> None:
        """Have this read first."""
        self._back = data + self._back


class InnerTls:
    """The server's side of a TLS session within a tunnel. Its client is on ``outer``."""

    def __init__(self, outer: Stream, context: ssl.SSLContext) -> None:
        self._outer = outer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)

    async def handshake(self) -> None:
        """Problem PC5055 when it fails."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._exchange()
            except ssl.SSLError as error:
                await self._flush()
                why = (error.reason or "no reason given").lower()
                raise Problem("PC5055", f"the TLS handshake failed: {why}") from None
            else:
                await self._flush()
                return

    async def read(self) -> bytes:
        """See Stream."""
        while True:
            try:
                return self._tls.read(PIECE)
            except ssl.SSLWantReadError:
                if not await self._exchange():
                    return b""
            except ssl.SSLError:
                return b""

    async def write(self, data: bytes) -> None:
        """See Stream."""
        self._tls.write(data)
        await self._flush()

    async def end(self) -> None:
        """Say close_notify; whether the client answers is its own affair."""
        with contextlib.suppress(OSError):
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:
                await self._flush()

    async def _flush(self) -> None:
        data = self._out.read()
        if data:
            await self._outer.write(data)

    async def _exchange(self) -> bool:
        """Send what is due and take what comes; False when nothing does any more."""
        await self._flush()
        data = await self._outer.read()
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        return bool(data)
