"""Three pipes of a box: a frame goes in, and a bounded amount of what comes out is kept."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Final

from portcullis.core.sandbox import Ended, Streams

_CHUNK: Final = 65_536


class Pipes:
    """Made before the box, closed after it. For one exchange."""

    def __init__(self) -> None:
        self._theirs, self._ours = _three()
        for descriptor in self._ours:
            os.set_blocking(descriptor, False)
        self._kept = {1: bytearray(), 2: bytearray()}
        self._cut = False

    @property
    def streams(self) -> Streams:
        """The box's ends."""
        stdin, stdout, stderr = self._theirs
        return Streams(stdin=stdin, stdout=stdout, stderr=stderr)

    def started(self) -> None:
        """The box has its ends: ours of them are closed."""
        for descriptor in self._theirs:
            os.close(descriptor)
        self._theirs = []

    def close(self) -> None:
        """Close what is still open."""
        for descriptor in (*self._theirs, *self._ours):
            os.close(descriptor)
        self._theirs, self._ours = [], []

    def taken(self) -> tuple[bytes, bytes, bool]:
        """Standard output, standard error, and whether any of it was dropped."""
        return bytes(self._kept[1]), bytes(self._kept[2]), self._cut

    async def exchange(self, frame: bytes, bound: int, ended: asyncio.Future[Ended]) -> Ended:
        """Send ``frame``, keep up to ``bound`` bytes of each output, and wait for the end."""
        stdin, stdout, stderr = self._ours
        reading = [asyncio.ensure_future(self._read(one, where, bound))
                   for one, where in ((stdout, 1), (stderr, 2))]  # fmt: skip
        try:
            # A box that ends without reading breaks the pipe; how it ended says more.
            with suppress(BrokenPipeError):
                await _write(stdin, frame)
            await asyncio.gather(*reading)
            return await asyncio.shield(ended)
        finally:
            for one in reading:
                one.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _read(self, descriptor: int, where: int, bound: int) -> None:
        kept = self._kept[where]
        while True:
            try:
                part = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                await _able(descriptor, reading=True)
                continue
            if not part:
                return
            room = bound - len(kept)
            kept += part[:room]
            self._cut = self._cut or len(part) > room


async def _write(descriptor: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            await _able(descriptor, reading=False)


async def _able(descriptor: int, *, reading: bool) -> None:
    """Wait until a descriptor can be read, or written."""
    loop = asyncio.get_running_loop()
    able: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not able.done():
            able.set_result(None)

    add, remove = (
        (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)
    )
    add(descriptor, tell)
    try:
        await able
    finally:
        remove(descriptor)


def _three() -> tuple[list[int], list[int]]:
    """The box's ends of three pipes, and ours."""
    made: list[int] = []
    try:
        for _ in range(3):
            made += os.pipe2(os.O_CLOEXEC)
    except OSError:
        for descriptor in made:
            os.close(descriptor)
        raise
    read_in, write_in, read_out, write_out, read_error, write_error = made
    return [read_in, write_out, write_error], [write_in, read_out, read_error]
