"""If these fail, an agent that was cut off goes on: asking, receiving, or listening."""

import asyncio
import contextlib

import pytest

from e2e.matrix.cells import ALL, EVERY, begun, cells, until

pytestmark = pytest.mark.anyio
REASON = "cut by the test"


@contextlib.asynccontextmanager
async def cut(deployment, route):
    """Cut the session off, and return once the route's gate has seen it; lift it afterwards."""
    feed = deployment.stage.gate.services.feed
    await feed.cut("session", deployment.session, REASON)
    try:
        await answers(route, "PC4001")
        yield
    finally:
        await feed.lift("session", deployment.session)
        await answers(route, "")


async def answers(route, code):
    """Until it answers so twice in a row: the first may be about a call that was on its way."""
    async with asyncio.timeout(10):
        while (await route.good()).code != code or (await route.good()).code != code:
            pass


@cells("contain", "request", *EVERY)
async def test_whoever_is_cut_off_asks_in_vain(route, deployment, recorded):
    assert (await route.good()).passed
    async with cut(deployment, route):
        before = len(route.upstream_saw())
        seen = await route.good()
        assert seen.code == "PC4001"
        assert len(route.upstream_saw()) == before
        await recorded("PC4001", check="contain", session=deployment.session)
    assert (await route.good()).passed


@cells("contain", "result", *EVERY)
async def test_what_comes_back_after_the_cut_is_withheld(route, deployment, recorded, tmp_path):
    for name in ("before", "after"):
        folder = tmp_path / name
        folder.mkdir()
        asking = asyncio.create_task(route.scripted("wait", folder))
        await begun(folder, asking)
        if name == "before":
            (folder / "go").touch()
            assert (await asking).passed
            continue
        async with cut(deployment, route):
            (folder / "go").touch()
            seen = await asking
    assert seen.code == "PC4001"
    assert seen.pieces == []
    assert str(folder) not in seen.text
    event = await recorded("PC4001", session=deployment.session)
    assert event.verdict in {"deny", "error"}


@cells("contain", "stream", *ALL)
async def test_a_stream_that_is_open_ends_with_the_cut(route, deployment, recorded, tmp_path):
    folder = tmp_path / "in-mid-stream"
    folder.mkdir()
    pieces = []
    asking = asyncio.create_task(route.scripted("pieces-wait", folder, on_piece=pieces.append))
    await begun(folder, asking)
    # A whole answer has no pieces for the agent.
    await until(lambda: pieces or route.name == "llm-json")
    async with cut(deployment, route):
        before = len(pieces)
        (folder / "go").touch()  # the upstream goes on, and does not come to an end
        seen = await asyncio.wait_for(asking, 20)
    assert seen.code == "PC4001"
    assert len(seen.pieces) == before
    await recorded("PC4001", session=deployment.session)
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    for name in ("go", "end"):
        (folder / name).touch()
    assert (await route.scripted("pieces-wait", folder)).passed
