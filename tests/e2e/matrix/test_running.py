"""If these fail, what runs goes on after a cut while its upstream is silent: nothing wakes it."""

import asyncio

import pytest

import standins
from e2e.matrix.cells import ALL, HTTP, cells, silent, until
from e2e.matrix.deployment import LEAD, PARTNER
from e2e.matrix.ways import ALONE, certified, delegated, mortal
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio


async def ends(route, folder, told, code, cut, lift):
    """A call before its answer and one in its middle end with the cut, and both are on record."""
    for how in ("wait", "pieces-wait"):
        (folder / how).mkdir()
        async with silent(route, how, folder / how) as asking:
            await cut()
            try:
                seen = await asyncio.wait_for(asking, 5)
            finally:
                await lift()
        assert seen.failed
        assert seen.code == code
        if route.name == "mcp-stdio":
            await usable(route)
    await until(lambda: len({e.decision for e in told() if e.code == code and e.decision}) >= 2)


async def usable(route):
    async with asyncio.timeout(10):
        while not (await route.good()).passed:
            pass


@cells("contain", "result stream", *ALL)
async def test_whoever_waits_for_a_silent_upstream_is_cut_off_all_the_same(
    route, deployment, told, tmp_path
):
    feed, session = deployment.stage.gate.services.feed, ("session", deployment.session)
    if route.name != "mcp-stdio":
        route.way = certified(deployment, deployment.svid(standins.AGENT))
    await ends(
        route,
        tmp_path,
        told,
        "PC4001",
        lambda: feed.cut(*session, "cut by the test"),
        lambda: feed.lift(*session),
    )


@cells("life-cycle", "result stream", *ALL)
async def test_what_an_agent_began_ends_when_it_is_suspended(route, deployment, told, tmp_path):
    agent = mortal(route)
    route.token = await deployment.stage.register(PrincipalKind.AGENT, agent)
    if route.name != "mcp-stdio":
        route.token, route.way = ALONE, certified(deployment, deployment.svid(agent))
    await ends(
        route,
        tmp_path,
        told,
        "PC4001",
        lambda: deployment.change(agent, Verb.SUSPEND),
        lambda: deployment.change(agent, Verb.RESUME),
    )


@cells("delegation", "result stream", *ALL)
async def test_what_is_done_for_another_ends_with_that_other(route, deployment, told, tmp_path):
    route.token = await delegated(route, deployment, of=LEAD)
    await ends(
        route,
        tmp_path,
        told,
        "PC4001",
        lambda: deployment.change(LEAD, Verb.SUSPEND),
        lambda: deployment.change(LEAD, Verb.RESUME),
    )


@cells("mutual-tls", "result stream", *HTTP)
async def test_what_runs_ends_when_its_authority_is_trusted_no_more(
    route, deployment, told, tmp_path
):
    trust = deployment.stage.gate.domain.trust
    await deployment.admit_guest()
    route.token = ALONE
    route.way = certified(deployment, deployment.partner.identity("/ns/shop/sa/guest"))

    async def withdraw():
        trust.remove(PARTNER)

    await ends(route, tmp_path, told, "PC2021", withdraw, deployment.admit_guest)
