"""If these fail, a tool that the gate starts has more of the machine than its box."""

import asyncio
import contextlib

import pytest

from e2e.matrix.cells import MCP, cells

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def listening():
    """Somebody who listens on our loopback; the address, and who came."""
    came = []
    server = await asyncio.start_server(lambda _, writer: came.append(writer), "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", came
    for writer in came:
        writer.close()


@cells("boxed-tools", "request", *MCP)
async def test_a_server_in_its_box_reads_nothing_of_ours_and_reaches_nobody(route, deployment):
    for place in ("/etc/shadow", str(deployment.config), "/root/.profile"):
        seen = await route.call("look", server="boxed", place=place)
        assert seen.text in {"FileNotFoundError", "PermissionError"}, place
    async with listening() as (address, came):
        seen = await route.call("reach", server="boxed", place=address)
        assert (seen.text, came) == ("ConnectionRefusedError", [])
    started = [event for event in route.events() if event.method == "sandbox.start"]
    assert "network" in started[-1].parameters["enforced"]


@cells("boxed-tools", "request", *MCP)
async def test_a_server_whose_box_cannot_be_had_is_not_started(route, recorded):
    seen = await route.call("look", server="unheld", place="/etc/hostname")
    assert seen.code == "PC5030"
    await recorded("PC5030")


@cells("boxed-tools", "result", *MCP)
async def test_a_result_that_takes_more_memory_than_the_box_has_does_not_come(route, recorded):
    fits = await route.call("hog", server="boxed", place=str(20 * 2**20))
    assert fits.text == str(20 * 2**20)
    await route.renew()
    seen = await route.call("hog", server="boxed", place=str(600 * 2**20))
    assert seen.failed
    await recorded("PC5011")
