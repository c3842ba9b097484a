"""If these fail, what ran for an agent goes on when the agent is cut off, or its session ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from mcp import MCPError

import standins
from e2e.matrix.cells import until
from e2e.tools.conftest import OTHER
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio


async def still(beat: Path) -> bool:
    """Whether what wrote there writes no more."""
    look = beat.read_text
    was = look()
    await asyncio.sleep(0.15)
    return look() == was


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_killed_agents_box_ends_at_once_and_anothers_does_not(place, mode):
    mine, others = place.shared / f"mine-{mode}", place.shared / f"others-{mode}"
    async with (
        place.client("boxed", await place.token(), mode=mode) as client,
        place.client("boxed", await place.token(OTHER), mode=mode) as other,
    ):
        await client.call_tool("beat", {"place": str(mine)})
        await other.call_tool("beat", {"place": str(others)})
        await until(lambda: mine.exists() and others.exists())
        waiting = asyncio.ensure_future(
            client.call_tool("wait", {"place": str(place.shared / f"begun-{mode}")})
        )
        await until((place.shared / f"begun-{mode}").exists)
        began = time.monotonic()
        await place.kill(standins.AGENT)
        try:
            with pytest.raises(MCPError):
                await asyncio.wait_for(waiting, 5)
            await until(lambda: time.time() - mine.stat().st_mtime > 0.1, 3)
            assert time.monotonic() - began < 1.5
            assert await still(mine)
            assert not await still(others)
        finally:
            await place.kill(standins.AGENT, undo=True)


async def test_a_killed_agents_code_ends_at_once(place):
    async with place.client("own", await place.token()) as client:
        beat = place.shared / "beat"
        running = asyncio.ensure_future(client.call_tool("slow", {}))
        await until(beat.exists)
        await place.kill(standins.AGENT)
        try:
            with pytest.raises(MCPError):
                await asyncio.wait_for(running, 1.5)
            await asyncio.sleep(0.1)
            assert await still(beat)
        finally:
            await place.kill(standins.AGENT, undo=True)


async def test_a_call_that_its_client_leaves_ends_with_its_box(place):
    beat = place.shared / "beat"
    async with place.client("own", await place.token()) as client:
        beat.unlink(missing_ok=True)
        running = asyncio.ensure_future(client.call_tool("slow", {}))
        await until(beat.exists)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(lambda: time.time() - beat.stat().st_mtime > 0.1, 1.5)
    assert await still(beat)


async def test_a_box_ends_with_its_session(place):
    session, token = await place.session()
    beat = place.shared / "session"
    async with place.client("boxed", token, mode="legacy") as client:
        await client.call_tool("beat", {"place": str(beat)})
        await until(beat.exists)
        await place.close(session)
        await until(lambda: time.time() - beat.stat().st_mtime > 0.3, 5)
    assert await still(beat)


async def test_a_server_for_sessions_serves_nobody_outside_one(place):
    services = place.stage.gate.services
    token = services.authority.mint(PrincipalKind.AGENT, standins.AGENT, ttl=60).token
    async with place.client("own", token) as client:
        assert (await client.list_tools()).tools
    with contextlib.suppress(ExceptionGroup):
        async with place.client("boxed", token, mode="legacy"):
            pytest.fail("it began a conversation")
    await standins.eventually(place.stage, lambda e: e.code == "PC5042")


async def test_a_server_that_dies_again_and_again_is_not_started_again_and_again(place):
    token = await place.token(OTHER)
    for _ in range(10):  # on a slow machine some rests are over before the next try
        with contextlib.suppress(ExceptionGroup):
            async with place.client("boxed", token, mode="legacy") as client:
                await client.call_tool("die", {"place": "x"})
        if any(event.code == "PC5041" for event in place.stage.events()):
            break
    resting = await standins.eventually(place.stage, lambda e: e.code == "PC5041")
    assert "starts again in" in resting.reason
