"""Whoever is killed or in quarantine is denied to those who ask, too, from the next question on."""

import asyncio
import contextlib
import json

import pytest

from e2e.decisions.conftest import request
from e2e.matrix.deployment import operator

pytestmark = pytest.mark.anyio


async def code(asking, way, agent):
    """What is said about something that policy allows the agent."""
    if way == "authzen":
        said = await asking.may("ask", "model", "gpt-5", agent=agent)
        return said["context"].get("code", "")
    async with asking.channel() as check:
        said = await check(request(agent=agent), timeout=10)
    return json.loads(said.denied_response.body)["code"] if said.status.code else ""


async def until(asking, way, agent, wanted):
    async with asyncio.timeout(10):
        while await code(asking, way, agent) != wanted:
            pass


def ways(*controls):
    return pytest.mark.parametrize(
        "way",
        [
            pytest.param(
                way, marks=[pytest.mark.control(one, way, "request") for one in controls], id=way
            )
            for way in ("authzen", "ext-authz")
        ],
    )


@ways("isolate")
async def test_in_quarantine_only_what_is_listed(asking, way):
    service = asking.stage.gate.services.quarantining("test")
    assert await code(asking, way, "isolated") == ""
    await service.begin(operator(), "agent", "isolated", "by the test")
    try:
        await until(asking, way, "isolated", "PC4010")
        listed = await asking.may("call", "tool", "kb.search", agent="isolated")
        assert listed["decision"]
        effect = await asking.may("call", "tool", "kb.say", agent="isolated")
        assert not effect["decision"]
    finally:
        await service.end(operator(), "agent", "isolated", "the test is over")
    await until(asking, way, "isolated", "")


@contextlib.asynccontextmanager
async def killed(asking, scope, value):
    service = asking.stage.gate.services.kills("test")
    await service.kill(operator(), scope, value, "by the test")
    try:
        yield
    finally:
        await service.undo(operator(), scope, value, "the test is over")


@ways("kill-switch", "contain")
async def test_a_kill_denies_the_next_question_and_no_neighbour_s(asking, way):
    assert await code(asking, way, "killed") == ""
    async with killed(asking, "agent", "killed"):
        assert await code(asking, way, "killed") == "PC4001"
        assert await code(asking, way, "worker") == ""
    await until(asking, way, "killed", "")
