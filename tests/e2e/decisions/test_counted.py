"""Who asks is the gate of that call: a yes counts as the call does, and what is used up is a no."""

import json

import pytest

from e2e.decisions.conftest import request

pytestmark = pytest.mark.anyio


@pytest.mark.control("limit", "authzen", "request")
@pytest.mark.control("limit", "ext-authz", "request")
async def test_a_limit_counts_what_is_allowed_elsewhere_and_nothing_else(asking):
    async def authzen(*asked):
        said = await asking.may(*asked, agent="counted")
        return said["context"].get("code", "")

    async def envoy(url="https://api.partner.example/v1/x"):
        async with asking.channel() as check:
            said = await check(request(agent="counted", url=url), timeout=10)
        return json.loads(said.denied_response.body)["code"] if said.status.code else ""

    tool = ("call", "tool", "kb.say")
    assert await authzen("call", "tool", "kb.delete") == "PC3001"
    assert await authzen("call", "tool", "kb.export") == "PC3035"
    assert await envoy("https://evil.example/") == "PC3016"
    assert [await authzen(*tool), await envoy(), await authzen(*tool), await envoy()] == [""] * 4
    assert await authzen(*tool) == "PC3071"
    assert await envoy() == "PC3071"
    assert (await asking.may(*tool))["decision"], "another agent's count is its own"


@pytest.mark.control("budget", "authzen", "request")
async def test_a_session_has_no_more_calls_elsewhere_than_it_was_given(asking):
    opened = {"agent": "worker", "user": "ada", "prompt": "Help.", "budget": {"calls": 2}}
    status, _, said = await asking.post("/v1/sessions", opened, token=asking.other)
    assert status == 201, said

    async def code(name):
        asked = await asking.may("call", "tool", name, session=said["session"])
        return asked["context"].get("code", "")

    assert [await code(name) for name in ("kb.say", "kb.delete", "kb.search")] == ["", "PC3001", ""]
    assert await code("kb.search") == "PC3061"
