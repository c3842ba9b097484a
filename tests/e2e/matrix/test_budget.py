"""If these fail, a session does more than the application that opened it gave it to do."""

import secrets

import pytest

import standins
from e2e.matrix.cells import GUARD, TOOLS, cells
from e2e.matrix.deployment import RIVAL
from e2e.matrix.ways import delegated

pytestmark = pytest.mark.anyio


@cells("budget", "request", *TOOLS)
async def test_a_session_does_no_more_than_its_budget(route, deployment, recorded):
    session, token = await deployment.open(budget={"calls": 4, "effects": 1})
    word = secrets.token_hex(8)
    assert (await route.call("write", token=token, text="once")).passed
    assert (await route.call("write", token=token, text=word)).code == "PC3061"
    with deployment.without("session_spent"):
        assert (await route.call("say", token=token, text=word)).code == "PC9002"
    if route.name != GUARD:  # whose tools are what whoever calls them says
        assert (await route.call("imaginary", token=token, text=word)).code == "PC3003"
    for _ in range(3):
        assert (await route.call("say", token=token, text="a")).passed
    assert (await route.call("say", token=token, text=word)).code == "PC3061"
    assert not any(word in repr(one) for one in route.upstream_saw())
    for name in ("write", "say"):
        await recorded("PC3061", check="budget", name=name, session=session)


@cells("budget", "request", "mcp-http", "mcp-http-legacy", GUARD)
async def test_who_acts_for_a_sessions_agent_uses_that_sessions_budget(route, deployment, recorded):
    session, token = await deployment.open(budget={"calls": 2})
    assert (await route.call("say", token=token, text="a")).passed
    theirs = await delegated(route, deployment, of=standins.AGENT, to=RIVAL, session=token)
    assert (await route.call("say", token=theirs, text="b")).passed
    assert (await route.call("say", token=theirs, text="c")).code == "PC3061"
    await recorded("PC3061", principal=RIVAL, session=session)
