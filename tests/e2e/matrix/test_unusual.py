"""If these fail, an agent that behaves otherwise than it used to goes on changing things."""

import asyncio
import re

import pytest

from e2e.matrix.cells import TOOLS, cells
from e2e.matrix.deployment import MORTAL, deployed, operator
from e2e.matrix.ways import mortal
from portcullis.core.behaviour import Phase, RiskLevel
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
REFUSALS = 1
BEHAVIOUR = {"learn_days": 0, "bounds": {"refusals": REFUSALS}}


@pytest.fixture(scope="module")
async def deployment(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("unusual")
    async with deployed(folder, behaviour=BEHAVIOUR) as made:
        for agent in MORTAL:
            await made.stage.register(PrincipalKind.AGENT, agent)
        yield made


async def stands(behaving, agent, holds):
    """How the agent stands, once that is so."""
    async with asyncio.timeout(15):
        while True:
            try:
                found = await behaving.get(agent)
            except Problem as problem:
                if problem.code != "PC3090":
                    raise
            else:
                if holds(found):
                    return found
            await asyncio.sleep(0.05)


@cells("unusual", "request", *TOOLS)
async def test_what_an_agent_of_high_risk_would_change_waits_for_a_human(
    route, deployment, recorded
):
    services = deployment.stage.gate.services
    behaving, agent = services.behaving("test"), mortal(route)
    _, token = await deployment.open(agent)
    assert (await route.effect(token=token)).passed
    await stands(behaving, agent, lambda found: found.standing.events >= 1)
    done = await behaving.ratify(operator(), agent, "as it should be")
    assert done.standing.phase is Phase.RATIFIED
    assert (await route.effect(token=token)).passed, "nothing is unusual yet"
    await stands(behaving, agent, lambda found: found.standing.phase is Phase.LOCKED)
    for _ in range(6 * REFUSALS):
        assert (await route.call("unheard-of", token=token, text="x")).code.startswith("PC3")
    high = await stands(behaving, agent, lambda found: found.level is RiskLevel.HIGH)
    assert high.standing.reasons[0].subject == "refusals in an hour"
    async with asyncio.timeout(10):
        while (held := await route.effect(token=token)).passed:  # noqa: ASYNC110 - it is followed
            await asyncio.sleep(0.05)
    approval = re.search(r"approval ([0-9a-f]{32}) is pending", held.text)[1]
    await recorded("PC3040", check="unusual", verdict="hold", principal=agent)
    assert (await route.good(token=token)).passed, "reads go on"
    assert (await route.effect()).passed, "its neighbour"
    approving = services.approvals("test")
    _, shown = await approving.show(operator(), approval)
    assert any("refusals in an hour" in one for one in shown.questions)
    await approving.approve(operator(), approval, "a test")
    assert (await route.effect(token=token)).passed, "once, because a human said so"
    levels = [e.parameters for e in deployment.events() if e.method == "behaviour.level"]
    assert "high" in {one["level"] for one in levels if one["agent"] == agent}
    await behaving.reset(operator(), agent, "it was the test")
    again = await stands(behaving, agent, lambda found: found.level is RiskLevel.NORMAL)
    assert again.standing.phase is Phase.LEARNING
