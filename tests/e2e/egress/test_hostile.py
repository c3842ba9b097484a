"""If these fail, an agent or a host gets around a rule of egress, or holds up everybody else."""

import asyncio

import pytest

from e2e.egress.rules import PLAIN, RAW, READ
from e2e.egress.stage import code_in

pytestmark = pytest.mark.anyio
HELD = 0.7
"""Seconds on a machine that does much else; what was wrong took three and more."""
PING = b"\x89\x80\x00\x00\x00\x00"


class Lag:
    """How long the gate's loop let others wait, at worst, within the block; seconds."""

    async def __aenter__(self):
        self.worst = 0.0
        self._task = asyncio.ensure_future(self._run())
        await asyncio.sleep(0)
        return self

    async def _run(self):
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(0.005)
            self.worst = max(self.worst, loop.time() - began)

    async def __aexit__(self, *_):
        await asyncio.sleep(0.01)
        self._task.cancel()


@pytest.mark.control("egress", "egress", "request")
async def test_no_header_makes_a_request_another_than_the_one_that_is_judged(stage):
    async with stage.http() as http:
        before = len(stage.hosts.seen)
        for name, value in (
            ("x-http-method-override", "DELETE"),
            ("x_http_method_override", "DELETE"),
            ("X-Original-URL", "/private"),
            ("x-forwarded-host", "front.allowed.test"),
        ):
            answer = await http.post(stage.url(READ), headers={name: value})
            assert code_in(answer.text) == "PC1011", name
        assert len(stage.hosts.seen) == before


async def opened(stage):
    reader, writer = await stage.dial("coder")
    where = f"{PLAIN}:{stage.plain}"
    head = (
        f"GET http://{where}/public/socket HTTP/1.1\r\nhost: {where}\r\nconnection: upgrade\r\n"
        "upgrade: websocket\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    writer.write(head.encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


@pytest.mark.control("egress", "egress", "stream")
async def test_a_flood_of_pings_lets_nobody_wait(stage):
    reader, writer = await opened(stage)
    count = 60_000
    try:
        async with Lag() as lag, asyncio.timeout(20):
            writer.write(PING * count)
            await reader.readexactly(2 * count)  # each has its pong
        assert lag.worst < HELD
    finally:
        writer.transport.abort()


@pytest.mark.control("bounds", "egress", "result")
async def test_an_answer_in_crumbs_is_given_up(stage):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
    stage.hosts.script = head + b"1\r\na\r\n" * 20_000
    async with stage.http() as http, Lag() as lag:
        answer = await http.get(f"http://{RAW}:{stage.ports['raw']}/")
        assert code_in(answer.text) == "PC5003"
    assert lag.worst < HELD


@pytest.mark.control("limit", "egress", "stream")
async def test_a_tunnel_that_carries_more_than_its_limit_is_cut_with_its_bytes_on_record(stage):
    async with stage.waiting("little") as tunnel:
        tunnel.tls.write(b"GET /public/?say=large HTTP/1.1\r\nhost: x\r\n\r\n")
        tunnel.writer.write(tunnel.out.read())
        stage.hosts.go.set()
        await asyncio.wait_for(tunnel.left(), 10)
    cut = await stage.recorded("PC3077", principal="little", type="result")
    assert cut.result.bytes > 60_000
    assert cut.result.sent > 0
