"""A raw server that answers in turns, and a pool that talks to it."""

from __future__ import annotations

import asyncio

from portcullis.execution.pool import Pool

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def turns(*answers: bytes, pause: float = 0):
    """A script that gives these answers in turn, the last one for ever, then pauses."""
    left = list(answers)

    async def script(server, request, writer):
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        await asyncio.sleep(pause)

    return script


async def read(forwarder, request) -> bytes:
    response = await forwarder.send(request)
    try:
        return await response.read()
    finally:
        response.close()


def pool(forwarder, name="bearer") -> Pool:
    return forwarder._upstreams[name].pool


async def emptied(*pools: Pool) -> None:
    """Wait until these pools have no connection left."""
    async with asyncio.timeout(1):
        while any(len(one) for one in pools):  # noqa: ASYNC110 - a pool tells nobody
            await asyncio.sleep(0.005)
