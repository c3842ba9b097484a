"""Reused connections: never another call's bytes, never more than calls, none left behind."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from contract.execution.connections.turns import ANSWER, emptied, pool, read, turns
from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.execution.connection import HIGH_WATER, Connection
from portcullis.execution.endpoint import Addresses, Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.pool import Pool
from portcullis.execution.secrets import local_secrets
from portcullis.execution.tls import WebTls

pytestmark = pytest.mark.anyio
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


async def failed(forwarder, request) -> str:
    with pytest.raises(Problem) as caught:
        await read(forwarder, request)
    return caught.value.code


@pytest.mark.parametrize("extra", [EVIL, b"H", b"junk", EVIL[:-1]])
async def test_a_second_answer_is_never_handed_to_the_next_call(forwarder, upstream, call, extra):
    upstream.script = turns(ANSWER + extra, ANSWER)
    assert [await read(forwarder, call()) for _ in range(3)] == [b"ok"] * 3
    assert upstream.connections == 2


async def test_bytes_that_come_while_nothing_is_asked_close_the_connection(
    forwarder, upstream, call
):
    async def script(server, request, writer):
        writer.write(ANSWER)
        await asyncio.sleep(0.02)
        writer.write(EVIL)

    upstream.script = script
    assert await read(forwarder, call()) == b"ok"
    await emptied(pool(forwarder))
    upstream.script = turns(ANSWER)
    assert await read(forwarder, call()) == b"ok"
    assert upstream.connections == 2


async def test_bytes_that_come_before_a_complete_answer_is_closed_end_its_connection(
    forwarder, upstream, call
):
    async def script(server, request, writer):
        writer.write(ANSWER)
        await asyncio.sleep(0.02)
        writer.write(EVIL)

    upstream.script = script
    response = await forwarder.send(call())
    await emptied(pool(forwarder))
    assert await response.read() == b"ok"


async def test_a_peer_that_closes_is_not_asked_again_on_that_connection(forwarder, upstream, call):
    async def script(server, request, writer):
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    upstream.script = script
    for _ in range(3):
        assert await read(forwarder, call()) == b"ok"
        await emptied(pool(forwarder))
    assert upstream.connections == 3


async def test_a_head_that_comes_byte_by_byte_is_understood_or_given_up(forwarder, upstream, call):
    async def script(server, request, writer):
        for at in range(len(ANSWER)):
            writer.write(ANSWER[at : at + 1])
            await asyncio.sleep(pause)

    upstream.script = script
    pause = 0
    assert await read(forwarder, call()) == b"ok"
    pause = 0.02
    assert await failed(forwarder, call()) == "PC5002"


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 103 Early Hints\r\nX-Hint: aaaaaaaaaaaaaaaa\r\n\r\n",
        b"X-Field: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        b"x",
    ],
)
async def test_a_flood_before_the_answer_is_refused_long_before_the_time_is_over(
    upstream, call, flood
):
    async def script(server, request, writer):
        if flood.startswith(b"X"):
            writer.write(b"HTTP/1.1 200 OK\r\n")
        elif flood == b"x":
            writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(flood * 100)
            await writer.drain()

    upstream.script = script
    forwarder = HttpForwarder(
        {"bearer": Endpoint(url=upstream.url)}, secrets=local_secrets({}), limits=Limits()
    )
    async with asyncio.timeout(5):
        assert await failed(forwarder, call()) == "PC5003"
    await asyncio.wait_for(upstream.ended.wait(), 1)
    await forwarder.close()


async def test_a_fast_upstream_waits_for_a_slow_reader(upstream, call):
    size = 8 * 2**20

    async def script(server, request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65_536):
            writer.write(b"x" * 65_536)
            await writer.drain()

    upstream.script = script
    forwarder = HttpForwarder(
        {"bearer": Endpoint(url=upstream.url)}, secrets=local_secrets({}), limits=Limits()
    )
    response = await forwarder.send(call())
    largest = total = 0
    async for chunk in response.chunks():
        largest = max(largest, len(chunk))
        total += len(chunk)
        await asyncio.sleep(0.001)
    assert total == size
    assert largest <= HIGH_WATER + 262_144  # what was unread, and one read of the loop's
    await read(forwarder, call())
    assert upstream.connections == 1
    await forwarder.close()


async def test_an_answer_without_length_is_whole_when_the_peer_closes(forwarder, upstream, call):
    async def script(server, request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall")
        await asyncio.sleep(0.02)
        writer.write(b" of it")
        writer.close()

    upstream.script = script
    assert await read(forwarder, call()) == b"all of it"
    assert await read(forwarder, call()) == b"all of it"
    assert upstream.connections == 2


async def test_an_answer_without_length_is_not_whole_when_the_connection_breaks(
    forwarder, upstream, call
):
    async def script(server, request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall")
        await asyncio.sleep(0.05)
        writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # RST
        writer.transport.abort()

    upstream.script = script
    assert await failed(forwarder, call()) == "PC5008"


async def test_an_early_answer_is_passed_on_and_its_connection_is_not_used_again(upstream, call):
    """The upstream refuses a large request by its head, and never reads the body."""
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.sleep(0.2)
        writer.close()
        with contextlib.suppress(OSError, RuntimeError):  # how it ended is no news
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    forwarder = HttpForwarder(
        {"bearer": Endpoint(url=f"http://127.0.0.1:{port}")},
        secrets=local_secrets({}),
        limits=Limits(),
    )
    for _ in range(2):
        response = await forwarder.send(call(body=b"x" * 16 * 2**20))
        assert (response.status, await response.read()) == (413, b"no")
    assert connections == 2
    await forwarder.close()
    server.close()


async def test_there_are_never_more_connections_than_calls_at_once(upstream, call, credential):
    limits = Limits(calls_in_flight=5)
    forwarder = HttpForwarder(
        {"bearer": Endpoint(url=upstream.url, credential="env:KEY"),
         "open": Endpoint(url=upstream.url)},
        secrets=local_secrets({"KEY": credential}),
        limits=limits,
    )  # fmt: skip

    async def slow(server, request, writer):
        await asyncio.sleep(0.005)
        writer.write(ANSWER)

    upstream.script = slow
    for _ in range(4):
        assert await asyncio.gather(*(read(forwarder, call()) for _ in range(5))) == [b"ok"] * 5
    assert upstream.connections == len(pool(forwarder)) == 5
    await read(forwarder, call("open"))
    assert upstream.connections == 6  # no connection carries two upstreams' credentials
    await forwarder.close()
    await emptied(pool(forwarder), pool(forwarder, "open"))


async def test_idle_connections_are_closed_and_the_latest_is_reused_first(upstream):
    addresses = Addresses("a", upstream.url)
    kept = Pool(addresses, tls=WebTls(), connect_seconds=1, keep_seconds=0.1)
    request = b"GET / HTTP/1.1\r\n\r\n"
    used: list[Connection] = [await kept.connect() for _ in range(3)]
    for connection in used:
        answer = await connection.ask(request, seconds=1, limit=100)
        while not answer.complete:
            await connection.piece()
        kept.give(connection)
    begun = asyncio.get_running_loop().time()
    assert kept.take() is used[2]
    kept.give(used[2])  # it has no exchange: not reusable
    while (left := kept.take()) is not None:
        assert left in used[:2]
        answer = await left.ask(request, seconds=1, limit=100)
        while not answer.complete:
            await left.piece()
        kept.give(left)
        if asyncio.get_running_loop().time() - begun > 0.05:
            break
    await emptied(kept)
    assert asyncio.get_running_loop().time() - begun < 0.6


async def test_small_writes_are_not_held_back(forwarder, upstream, call):
    await read(forwarder, call())
    connection = pool(forwarder).take()
    sock = connection._transport.get_extra_info("socket")
    assert sock.getsockopt(6, 1) != 0  # TCP_NODELAY


async def test_a_rotated_credential_is_used_at_the_next_call(upstream, call, credential):
    environ = {"KEY": credential}
    forwarder = HttpForwarder(
        {"bearer": Endpoint(url=upstream.url, credential="env:KEY")},
        secrets=local_secrets(environ),
        limits=Limits(),
    )
    await read(forwarder, call())
    environ["KEY"] = credential[::-1]
    await read(forwarder, call())
    assert f"Bearer {credential}".encode() in upstream.requests[0]
    assert f"Bearer {credential[::-1]}".encode() in upstream.requests[1]
    await forwarder.close()


async def test_no_object_shows_the_credential(forwarder, upstream, call, credential):
    response = await forwarder.send(call())
    kept = forwarder._upstreams["bearer"]
    for one in (forwarder, response, kept, kept.pool, kept.writer, kept.filler):
        assert credential not in repr(one)
    response.close()
