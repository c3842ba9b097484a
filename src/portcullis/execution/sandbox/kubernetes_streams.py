"""A pod's standard streams, carried over a WebSocket.

Each message is a byte that names a channel, and what is on it: ``v5.channel.k8s.io`` of the
Kubernetes API, in which the end of one channel can be said too.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any, Final

import aiohttp

from portcullis.core.sandbox import Streams

PROTOCOL: Final = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_CHUNK: Final = 32 * 1024
_WRITE: Final = 4096
"""A pipe that can be written to takes as much without waiting (pipe(7), PIPE_BUF)."""


class Carried:
    """Streams that are ours until the box ends: its descriptors are copies, closed by ``close``.

    ``finished`` is whether the other side has said that it was all.
    """

    def __init__(self, streams: Streams) -> None:
        self.finished = False
        self._stdin = os.dup(streams.stdin)
        self._out = {_STDOUT: os.dup(streams.stdout), _STDERR: os.dup(streams.stderr)}

    async def carry(self, socket: Any) -> None:
        """Carry until the other side ends. aiohttp's errors are the caller's."""
        feeding = asyncio.ensure_future(self._feed(socket))
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY and message.data:
                    await self._take(message.data[0], message.data[1:])
                elif message.type is aiohttp.WSMsgType.ERROR:
                    break
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError, OSError, aiohttp.ClientError):
                await feeding

    async def _feed(self, socket: Any) -> None:
        while True:
            await _ready(self._stdin, reading=True)
            try:
                chunk = os.read(self._stdin, _CHUNK)
            except OSError:  # a terminal whose other side is gone
                chunk = b""
            if not chunk:
                await socket.send_bytes(bytes((_CLOSE, _STDIN)))
                return
            await socket.send_bytes(bytes((_STDIN,)) + chunk)

    async def _take(self, channel: int, data: bytes) -> None:
        self.finished |= channel == _ERROR
        target = self._out.get(channel)
        while target is not None and data:
            await _ready(target, reading=False)
            try:
                data = data[os.write(target, data[:_WRITE]) :]
            except OSError:  # nobody reads it any more; what else comes of it is dropped
                os.close(self._out.pop(channel))
                return

    def close(self) -> None:
        """Close our copies; may be said twice."""
        for descriptor in (*self._out.values(), self._stdin):
            if descriptor >= 0:
                os.close(descriptor)
        self._out, self._stdin = {}, -1


async def _ready(descriptor: int, *, reading: bool) -> None:
    """Wait until a descriptor can be read or written; a plain file always can."""
    loop = asyncio.get_running_loop()
    add, remove = (
        (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)
    )
    able: asyncio.Future[None] = loop.create_future()

    def say() -> None:
        if not able.done():
            able.set_result(None)

    try:
        add(descriptor, say)
    except OSError:  # epoll(7): EPERM for plain files
        return
    try:
        await able
    finally:
        remove(descriptor)
