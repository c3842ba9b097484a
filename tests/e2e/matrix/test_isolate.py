"""If these fail, an agent in quarantine goes on: asking, receiving, or listening."""

import asyncio
import contextlib

import pytest

from e2e.matrix.cells import ALL, EVERY, GUARD, LLM, MCP, begun, cells, until
from e2e.matrix.deployment import operator

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def opened():
    """The sessions that the routes have for these tests."""
    return {}


@pytest.fixture
async def own(route, deployment, opened):
    """A session, its id and its token, that only this route acts in."""
    key = route.name, getattr(route, "api", "")
    if key not in opened:
        opened[key] = await deployment.open()
    return opened[key]


def forbidden(route, token):
    """What is allowed, and not on the list of what goes on in quarantine."""
    ask = route.scripted("plain", token=token) if route.name in LLM else route.effect(token=token)
    return asyncio.wait_for(ask, 30)


@contextlib.asynccontextmanager
async def quarantined(deployment, route, session, token):
    """Isolate a session, and return once the route's gate has seen it; let it out afterwards."""
    service = deployment.stage.gate.services.quarantining("test")
    await service.begin(operator(), "session", session, "by the test")
    try:
        await answers(route, token, "PC4010")
        yield
    finally:
        await service.end(operator(), "session", session, "the test is over")
        await answers(route, token, "")


async def answers(route, token, code):
    async with asyncio.timeout(10):
        while (await forbidden(route, token)).code != code:
            pass


@cells("isolate", "request", *EVERY)
async def test_in_quarantine_only_what_is_listed_goes_on(route, own, deployment, recorded):
    session, token = own
    assert (await forbidden(route, token)).passed
    async with quarantined(deployment, route, session, token):
        before = len(route.upstream_saw())
        assert (await forbidden(route, token)).code == "PC4010"
        assert "by the test" not in (await forbidden(route, token)).text
        assert len([one for one in route.effects()[before:] if one]) == 0
        assert (await route.good(token=token)).passed, "a read on the list"
        if route.name != "mcp-stdio":  # where it would be another process
            assert (await forbidden(route, deployment.token)).passed, "its neighbour"
        await recorded("PC4010", check="isolate", session=session)
    assert (await forbidden(route, token)).passed
    said = [e for e in deployment.events() if e.name == f"session:{session}"]
    assert [e.method for e in said][:2] == ["quarantine.begin", "quarantine.end"]


@cells("isolate", "result", *EVERY)
async def test_what_comes_back_in_quarantine_is_withheld_and_little_is_shown(
    route, own, deployment, recorded, tmp_path
):
    session, token = own
    asking = asyncio.create_task(route.scripted("wait", tmp_path, token=token))
    await begun(tmp_path, asking)
    async with quarantined(deployment, route, session, token):
        (tmp_path / "go").touch()
        seen = await asking
        if route.name in MCP:
            assert await route.listed(token=token) == {"say"}
    gone = {"PC5020"} if route.name == GUARD else set()  # it may have ended before the report
    assert seen.code in {"PC4010"} | gone
    assert str(tmp_path) not in seen.text
    event = await recorded("PC4010", session=session)
    assert event.verdict in {"deny", "error"}
    if route.name in MCP:
        assert len(await route.listed(token=token)) > 1


@cells("isolate", "stream", *ALL)
async def test_a_stream_that_is_open_ends_with_the_quarantine(
    route, own, deployment, recorded, tmp_path
):
    session, token = own
    pieces = []
    asking = asyncio.create_task(
        route.scripted("pieces-wait", tmp_path, token=token, on_piece=pieces.append)
    )
    await begun(tmp_path, asking)
    await until(lambda: pieces or route.name == "llm-json")
    async with quarantined(deployment, route, session, token):
        before = len(pieces)
        if route.name == GUARD:  # the agent runs it
            (tmp_path / "go").touch()
        seen = await asyncio.wait_for(asking, 20)  # the upstream is silent all the while
    (tmp_path / "go").touch()
    assert seen.code == "PC4010"
    assert len(seen.pieces) == before
    await recorded("PC4010", session=session)
