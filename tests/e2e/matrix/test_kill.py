"""If these fail, whoever is killed goes on, and whoever killed believes that it ended."""

import asyncio
import contextlib

import aiohttp
import pytest

from e2e.matrix.cells import ALL, EVERY, begun, cells
from e2e.matrix.deployment import RIVAL
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
REASON = "killed by the test"
AT_ONCE = 3.0
"""Seconds on a machine that does much else; nothing that is measured here waits for a poll."""


async def ask(deployment, path, body):
    """What the control plane answers an operator."""
    authority = deployment.stage.gate.services.authority
    token = authority.mint(PrincipalKind.OPERATOR, "local-test", ttl=60, roles=("admin",)).token
    url = f"{deployment.stage.gate.control_url}/api/v1/kills{path}"
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {token}"}) as http,
        http.post(url, json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


@contextlib.asynccontextmanager
async def killed(deployment, scope="session", value=None):
    """Kill it with the API, and take that back afterwards."""
    target = {"scope": scope, "reason": REASON} | (
        {} if scope == "all" else {"value": value or deployment.session}
    )
    done = await ask(deployment, "", target)
    try:
        assert (done["recorded"], done["durable"], done["faults"]) == (True, True, [])
        assert all(one["acknowledged_ms"] is not None for one in done["gateways"])
        yield done
    finally:
        await ask(deployment, "/undo", target)


async def answers(route, code, token=None):
    async with asyncio.timeout(10):
        while (await route.good(token=token)).code != code:
            pass


@cells("kill-switch", "request", *EVERY)
async def test_a_kill_refuses_the_next_request_and_no_neighbour_s(route, deployment, recorded):
    assert (await route.good()).passed
    async with killed(deployment) as done:
        before = len(route.upstream_saw())
        assert (await route.good()).code == "PC4001"
        assert len(route.upstream_saw()) == before
        await recorded("PC4001", check="contain", session=deployment.session)
        if route.name != "mcp-stdio":  # a wrapper is one agent's
            _, neighbour = await deployment.open(RIVAL)
            assert (await route.good(token=neighbour)).passed
        names = {one["gateway"] for one in done["gateways"]}
        assert "gate" in names
        assert route.name != "mcp-stdio" or any(name.startswith("mcp-") for name in names)
    await answers(route, "")


@cells("kill-switch", "result", *EVERY)
async def test_a_kill_ends_a_call_that_waits_for_its_upstream(route, deployment, tmp_path):
    asking = asyncio.create_task(route.scripted("wait", tmp_path))
    await begun(tmp_path, asking)
    async with killed(deployment):
        if route.name == "guard":  # the agent's own program runs; what it reports is refused
            (tmp_path / "go").touch()
        seen = await asyncio.wait_for(asking, AT_ONCE)
        assert (seen.code, seen.pieces) == ("PC4001", [])
        assert str(tmp_path) not in seen.text
    (tmp_path / "go").touch()
    await answers(route, "")


@cells("kill-switch", "stream", *ALL)
async def test_a_kill_ends_a_stream_whose_upstream_is_silent(route, deployment, tmp_path):
    asking = asyncio.create_task(route.scripted("pieces-wait", tmp_path))
    await begun(tmp_path, asking)
    async with killed(deployment) as done:
        seen = await asyncio.wait_for(asking, AT_ONCE)
        assert seen.code == "PC4001"
        assert sum(one["runs"] for one in done["gateways"]) >= 1
    for name in ("go", "end"):
        (tmp_path / name).touch()
    await answers(route, "")
