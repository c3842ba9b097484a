"""Scripts for the raw server, and ways to read what comes of them."""

from __future__ import annotations

import asyncio

import pytest

from portcullis.core.errors import Problem


def says(data: bytes, *, then: float | None = None, close: bool = False):
    """A script that writes ``data``, then waits or closes."""

    async def script(server, request, writer):
        writer.write(data)
        await writer.drain()
        if then is not None:
            await asyncio.sleep(then)
        if close:
            writer.close()

    return script


def pieces(*parts: bytes, pause: float = 0.02, close: bool = False):
    async def script(server, request, writer):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        if close:
            writer.close()

    return script


async def read(forwarder, request) -> bytes:
    response = await forwarder.send(request)
    try:
        return await response.read()
    finally:
        response.close()


async def stream(forwarder, request) -> tuple[list[bytes], Problem | None]:
    """All that was passed on, and the Problem that ended it."""
    response = await forwarder.send(request)
    passed: list[bytes] = []
    try:
        async for chunk in response.chunks():
            passed += [chunk]
    except Problem as problem:
        return passed, problem
    finally:
        response.close()
    return passed, None


async def refused(forwarder, request) -> str:
    with pytest.raises(Problem) as caught:
        await read(forwarder, request)
    return caught.value.code
