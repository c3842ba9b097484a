"""The host of ``bench sandbox``'s egress: TLS, HTTP/1.1, a small answer to a request, or a large.

Run as ``python -m portcullis.bench.sandbox_stub PORT NEAR CERTIFICATE KEY``; the files are PEM. At
NEAR it answers as if it stood ``AWAY_SECONDS`` away, there and back: what comes in is taken so much
later, and the first of a connection, for which TCP would have gone there and back before, twice so.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from typing import Final

ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
)
BULK: Final = 16 * 2**20
"""Bytes of the large answer's body."""
AWAY_SECONDS: Final = 0.004
_LARGE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BULK
_PIECE: Final = 2**16


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /bytes "):
                writer.write(_LARGE)
                for _ in range(BULK // _PIECE):
                    writer.write(b"x" * _PIECE)
                    await writer.drain()
            else:
                writer.write(ANSWER)
                await writer.drain()
    writer.close()


class _Away:
    """Carries connections to ``port``, and takes its time."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        answers = asyncio.ensure_future(_copied(there, writer))
        loop = asyncio.get_running_loop()
        first = AWAY_SECONDS
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE):
                loop.call_later(first + AWAY_SECONDS, back.write, data)
                first = 0.0
        answers.cancel()
        back.close()
        writer.close()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()


async def _main(port: int, near: int, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    away = await asyncio.start_server(_Away(port).serve, "127.0.0.1", near, backlog=256)
    server = await asyncio.start_server(_serve, "127.0.0.1", port, ssl=context, backlog=256)
    async with away, server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
