"""One command in a box, from its input to its end: nothing of it is left when it returns."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from portcullis.core.sandbox import Ended, Ending, Order, Streams
from portcullis.core.sandbox_ports import Box
from portcullis.execution.boxes import Boxes

_CHUNK: Final = 65536
_LAST_SECONDS: Final = 2.0
"""How long what a box has written may take to be read after its end."""


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What a command wrote, and how it ended; ``cut`` says that it wrote more than was read."""

    stdout: bytes
    stderr: bytes
    ended: Ended
    cut: bool = False

    @property
    def well(self) -> bool:
        """Whether it ended by itself, and said that all is well."""
        return self.ended.why is Ending.EXITED and self.ended.status == 0 and not self.cut


class _Started(NamedTuple):
    box: Box
    stdin: int
    stdout: int
    stderr: int


class Runner:
    """``run`` runs a command to its end. Leaving it early ends the box, with all that is in it."""

    def __init__(self, boxes: Boxes) -> None:
        self._boxes = boxes
        self._strays: set[asyncio.Task[None]] = set()

    async def run(self, order: Order, stdin: bytes, limit: int) -> Ran:
        """Run ``order`` with ``stdin``; at most ``limit`` bytes of each stream are read.

        A command that writes more is ended. Raises the Problems of ``Sandbox.start``.
        """
        starting = asyncio.ensure_future(self._start(order))
        try:
            started = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._end_later(starting)
            raise
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(started.box.close)
            return await _talk(started, stdin, limit)

    async def close(self) -> None:
        """Wait until what was left half started is gone."""
        await asyncio.gather(*self._strays, return_exceptions=True)

    async def _start(self, order: Order) -> _Started:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            (stdin, to), (out, stdout), (err, stderr) = (os.pipe() for _ in range(3))
            for descriptor in (stdin, stdout, stderr):
                theirs.callback(os.close, descriptor)
            for descriptor in (to, out, err):
                ours.callback(os.close, descriptor)
            box = await self._boxes.start(order, Streams(stdin=stdin, stdout=stdout, stderr=stderr))
            ours.pop_all()
        return _Started(box, to, out, err)

    def _end_later(self, starting: asyncio.Future[_Started]) -> None:
        """The caller has left while the box was being made: end it once it is there."""

        async def end() -> None:
            started = await starting
            for descriptor in started[1:]:
                os.close(descriptor)
            await started.box.close()

        task = asyncio.ensure_future(end())
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)


async def _talk(started: _Started, stdin: bytes, limit: int) -> Ran:
    box = started.box
    loop = asyncio.get_running_loop()

    def full() -> None:
        ending.append(loop.create_task(box.kill()))

    ending: list[asyncio.Task[None]] = []
    streams = [_Stream(limit, full) for _ in range(2)]
    modes = ((started.stdout, "rb"), (started.stderr, "rb"), (started.stdin, "wb"))
    pipes = [os.fdopen(descriptor, mode, 0) for descriptor, mode in modes]
    transports: list[asyncio.BaseTransport] = []
    try:
        for stream, pipe in zip(streams, pipes, strict=False):
            transports.append((await loop.connect_read_pipe(stream.itself, pipe))[0])
        to, _ = await loop.connect_write_pipe(asyncio.Protocol, pipes[2])
        transports.append(to)
        to.write(stdin)
        to.write_eof()
        ended = await box.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await asyncio.gather(*(stream.over for stream in streams))
    finally:
        for transport in transports:
            transport.close()
        for pipe in pipes[len(transports) :]:
            pipe.close()
        await asyncio.gather(*ending)
    out, err = streams
    return Ran(stdout=out.text, stderr=err.text, ended=ended, cut=out.cut or err.cut)


class _Stream(asyncio.Protocol):
    """Keeps the first bytes of a stream; ``full`` is called, once, when there are more."""

    def __init__(self, limit: int, full: Callable[[], object]) -> None:
        self._limit = limit
        self._full = full
        self._pieces: list[bytes] = []
        self._size = 0
        self.cut = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def text(self) -> bytes:
        return b"".join(self._pieces)

    def itself(self) -> _Stream:
        """As loops want a protocol: from a function."""
        return self

    def data_received(self, data: bytes) -> None:
        room = self._limit - self._size
        if len(data) > room and not self.cut:
            self.cut = True
            self._full()
        if room > 0:
            self._pieces.append(data[:room])
            self._size += len(data[:room])

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.over.done():
            self.over.set_result(None)
