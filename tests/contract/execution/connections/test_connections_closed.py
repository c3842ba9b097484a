"""If these fail, a call that is cancelled or closed leaves something to the next one."""

from __future__ import annotations

import asyncio
import gc

import pytest

from contract.execution.connections.turns import ANSWER, emptied, pool, read, turns
from portcullis.core.errors import Problem
from portcullis.execution.connection import Connection

pytestmark = pytest.mark.anyio


async def test_cancelling_at_any_moment_leaves_no_connection_and_no_place_taken(
    forwarder, upstream, call, wire
):
    async def script(server, request, writer):
        for piece in (b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello",
                      b"\r\n", b"0\r\n", b"\r\n"):  # fmt: skip
            await asyncio.sleep(0.003)
            if writer.is_closing():
                return
            writer.write(piece)

    upstream.script = script
    for step in range(25):
        task = asyncio.create_task(read(forwarder, call()))
        await asyncio.sleep(step * 0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert forwarder._upstreams["bearer"].in_flight == 0
        assert len(pool(forwarder)) <= 1
    upstream.script = upstream.ok
    assert await read(forwarder, call()) == b'{"ok":true}'
    await forwarder.close()
    await emptied(pool(forwarder))
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Connection) and not one.closing]


async def test_an_answer_that_was_closed_can_not_read_the_next_calls_bytes(
    forwarder, upstream, call
):
    upstream.script = turns(ANSWER)
    first = await forwarder.send(call())
    first.close()
    second = await forwarder.send(call())
    with pytest.raises(Problem) as caught:
        await first.read()
    assert caught.value.code == "PC5008"
    first.close()
    assert await second.read() == b"ok"
    assert upstream.connections == 1


async def test_a_stream_that_is_closed_meanwhile_ends_with_a_problem(
    forwarder, upstream, call, wire
):
    upstream.script = turns(wire.stream + b"1\r\na\r\n", pause=5)
    response = await forwarder.send(call())
    chunks = response.chunks()
    assert await anext(chunks) == b"a"
    waiting = asyncio.create_task(anext(chunks))
    await asyncio.sleep(0.02)
    response.close()
    with pytest.raises(Problem) as caught:
        await waiting
    assert caught.value.code == "PC5008"


async def test_closing_the_forwarder_ends_calls_under_way_at_once(forwarder, upstream, call, wire):
    upstream.script = turns(wire.stream + b"1\r\na\r\n", pause=5)
    response = await forwarder.send(call())
    upstream.script = turns(b"HTTP/1.1 ", pause=5)
    waiting = asyncio.create_task(forwarder.send(call("open")))
    await asyncio.sleep(0.05)
    await forwarder.close()
    async with asyncio.timeout(0.2):
        with pytest.raises(Problem) as caught:
            await response.read()
        assert caught.value.code == "PC5008"
        with pytest.raises(Problem) as caught:
            await waiting
        assert caught.value.code == "PC5001"
    await emptied(pool(forwarder), pool(forwarder, "open"))


async def test_closing_the_forwarder_while_it_connects_leaves_no_connection(
    forwarder, upstream, call
):
    waiting = asyncio.create_task(forwarder.send(call()))
    await asyncio.sleep(0)
    await forwarder.close()
    with pytest.raises(Problem) as caught:
        await waiting
    assert caught.value.code in {"PC5013", "PC5001"}
    assert len(pool(forwarder)) == 0
    assert upstream.requests == []
