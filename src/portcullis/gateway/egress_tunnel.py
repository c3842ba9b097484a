"""A tunnel: bytes both ways that nobody reads, for as long as the agent may.

Each piece is asked about before it goes on, and whoever is cut off loses both ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.verdict import Deny
from portcullis.gateway.egress_stream import PIECE, Stream
from portcullis.gateway.live import settled

_STEP: Final = 2**16
"""Bytes that came back, after which they are counted."""
_LINGER: Final = 5.0
"""Seconds in which the last bytes may be taken."""


class Tunnel:
    """``sent`` bytes went out and ``received`` came back; ``run`` ends when either end does.

    ``count`` is told while it runs how much more came back, and may raise; ``counted`` is the sum.
    """

    def __init__(
        self,
        client: Stream,
        reader: StreamReader,
        writer: StreamWriter,
        *,
        allowed: Callable[[], Deny | None],
        count: Callable[[int], Awaitable[None]],
        seconds: float,
        idle: float,
    ) -> None:
        self._client = client
        self._reader = reader
        self._writer = writer
        self._allowed = allowed
        self._count = count
        self._seconds = seconds
        self._idle = idle
        self.sent = 0
        self.received = 0
        self.counted = 0
        self.pieces = 0
        self._last = 0.0

    async def run(self) -> str:
        """Who ended it: ``client`` or ``host``. Problem PC5059, PC4001 and others of containment.

        A connection that breaks is one that ended.
        """
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        ways = {
            loop.create_task(self._out()): "client",
            loop.create_task(self._back()): "host",
            loop.create_task(self._watch(loop)): "time",
        }
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return ways[next(iter(done))]
        finally:
            for task in ways:
                task.cancel()
            self._writer.transport.abort()
            await settled(ways)

    async def _out(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self._client.read():
                self._ask()
                self.sent += len(data)
                self._writer.write(data)
                await self._writer.drain()
                self._passed()
            await self._drained()

    async def _back(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(PIECE):
                self._ask()
                self.received += len(data)
                more = self.received - self.counted
                if more >= _STEP:
                    self.counted = self.received
                    await self._count(more)
                await self._client.write(data)
                self._passed()

    async def _drained(self) -> None:
        """Give the host the last of what the client sent before the connection is given up."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LINGER):
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                self._writer.transport.set_write_buffer_limits(0)
                await self._writer.drain()

    def _ask(self) -> None:
        denied = self._allowed()
        if denied is not None:
            raise Problem(denied.code, denied.reason)

    def _passed(self) -> None:
        self.pieces += 1
        self._last = asyncio.get_running_loop().time()

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        end = loop.time() + self._seconds
        while True:
            now = loop.time()
            silent = self._last + self._idle
            if now >= end:
                raise Problem("PC5059", f"the tunnel lasted {self._seconds:g} s")
            if now >= silent:
                raise Problem("PC5059", f"nothing went through the tunnel for {self._idle:g} s")
            await asyncio.sleep(min(end, silent) - now)
