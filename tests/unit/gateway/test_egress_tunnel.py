"""If these fail, a tunnel goes on when it should not, or loses what it was given."""

import asyncio
import contextlib

import pytest

from portcullis.core.errors import Problem
from portcullis.core.verdict import Deny
from portcullis.gateway.egress_stream import PlainStream
from portcullis.gateway.egress_tunnel import Tunnel

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def pair():
    """Both ends of a connection, each a reader and a writer."""
    near = asyncio.get_running_loop().create_future()

    def came(reader, writer):
        near.set_result((reader, writer))

    server = await asyncio.start_server(came, "127.0.0.1", 0)
    far = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield await near, far
    finally:
        for _, writer in (await near, far):
            writer.transport.abort()
        server.close()


async def uncounted(size):
    assert size > 0


@contextlib.asynccontextmanager
async def tunnelled(allowed=lambda: None, count=uncounted, seconds=10, idle=10):
    """A tunnel that runs, the client's end of it, and the host's."""
    async with pair() as (inner, client), pair() as (outer, host):
        tunnel = Tunnel(
            *(PlainStream(*inner), *outer),
            allowed=allowed,
            count=count,
            seconds=seconds,
            idle=idle,
        )
        running = asyncio.create_task(tunnel.run())
        try:
            yield tunnel, running, client, host
        finally:
            running.cancel()
            await asyncio.wait([running])


async def done(running):
    return await asyncio.wait_for(asyncio.shield(running), 5)


async def test_all_that_was_sent_arrives_also_when_the_client_leaves_at_once():
    async with tunnelled() as (tunnel, running, client, host):
        client[1].write(b"x" * 300_000)
        client[1].write_eof()
        assert len(await asyncio.wait_for(host[0].read(-1), 5)) == 300_000
        assert await done(running) == "client"
        assert (tunnel.sent, tunnel.received) == (300_000, 0)


async def test_the_host_ends_it_too():
    async with tunnelled() as (tunnel, running, client, host):
        host[1].write(b"bye")
        await host[1].drain()
        assert await asyncio.wait_for(client[0].readexactly(3), 5) == b"bye"
        host[1].close()
        assert await done(running) == "host"
        assert tunnel.received == 3


@pytest.mark.parametrize("bounds", [{"seconds": 0.05}, {"idle": 0.05}], ids=str)
async def test_it_does_not_last_for_ever(bounds):
    async with tunnelled(**bounds) as (_, running, _, host):
        with pytest.raises(Problem) as ended:
            await done(running)
        assert ended.value.code == "PC5059"
        assert await asyncio.wait_for(host[0].read(-1), 5) == b""


async def test_each_piece_is_asked_about():
    denied = []
    async with tunnelled(allowed=lambda: denied[0] if denied else None) as (
        _,
        running,
        client,
        host,
    ):
        client[1].write(b"one")
        assert await asyncio.wait_for(host[0].readexactly(3), 5) == b"one"
        denied.append(Deny(code="PC4001", reason="killed"))
        client[1].write(b"two")
        with pytest.raises(Problem, match="killed"):
            await done(running)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(host[0].read(-1), 5) == b""


async def test_a_cut_keeps_its_reason():
    async with tunnelled() as (_, running, client, host):
        client[1].write(b"one")
        await host[0].readexactly(3)
        running.cancel(Problem("PC4001", "killed"))
        with pytest.raises(asyncio.CancelledError) as ended:
            await running
        assert ended.value.args[0].code == "PC4001"


async def test_what_comes_back_is_counted_while_it_comes_and_may_be_too_much():
    counted = []

    async def count(size):
        counted.append(size)
        if sum(counted) > 500_000:
            raise Problem("PC3077", "it is too much")

    async with tunnelled(count=count) as (tunnel, running, client, host):
        host[1].write(b"x" * 2_000_000)
        with pytest.raises(Problem) as refused:
            await done(running)
        assert refused.value.code == "PC3077"
        assert sum(counted) == tunnel.counted < 700_000
        assert len(await asyncio.wait_for(client[0].read(500_000), 5)) <= 500_000
