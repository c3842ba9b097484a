"""Copying between two streams: listeners that know the peer, before servers that do not."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from typing import Final

PIECE: Final = 64 * 1024
"""Bytes that are held for one way at most, and copied at once."""
_FLUSH_SECONDS: Final = 1.0


async def close(writer: StreamWriter) -> None:
    """Send what is left, if the other side takes it in time."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_FLUSH_SECONDS):
            await writer.wait_closed()
    writer.transport.abort()


async def copy(reader: StreamReader, writer: StreamWriter) -> None:
    """Copy until one side ends; a connection that broke has ended."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
