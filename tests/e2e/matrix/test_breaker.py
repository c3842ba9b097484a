"""If these fail, a runaway agent goes on, or a failing upstream is asked again and again."""

import asyncio
import time
from functools import partial

import pytest

from e2e.matrix.cells import EVERY, LLM, MCP, MCP_HTTP, cells, until
from e2e.matrix.deployment import MORTAL, RIVAL, deployed
from e2e.matrix.routes import route_of
from e2e.matrix.ways import mortal
from portcullis.core.breaker import Breaker, Key, State
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
DENIALS = 4
SECONDS = 0.6
BREAKERS = {
    "agent": {"denials": DENIALS, "open_seconds": SECONDS, "longest_seconds": 30},
    "upstream": {"calls": 4, "errors": 0.2, "open_seconds": SECONDS, "longest_seconds": 30},
}


@pytest.fixture(scope="module")
async def deployment(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("breakers")
    async with deployed(folder, breakers=BREAKERS) as made:
        for agent in MORTAL:
            await made.stage.register(PrincipalKind.AGENT, agent)
        yield made


async def forbidden(route, token):
    """Ask for what policy does not grant."""
    if route.name.startswith("llm"):
        return await route.ask("none-such-model", token=token)
    return await route.call("unheard-of", token=token, text="x")


@cells("agent-breaker", "request", *EVERY)
async def test_an_agent_that_is_denied_again_and_again_is_stopped(route, deployment, recorded):
    agent = mortal(route)
    name = f"agent:{agent}"
    _, token = await deployment.open(agent)
    assert (await route.good(token=token)).passed
    for _ in range(DENIALS):
        assert (await forbidden(route, token)).code.startswith("PC3")
    seen = await until_code(route, token, "PC5023")
    if route.name == "mcp-stdio":  # which is a process of its own, and not the only one
        elsewhere = route_of(deployment, "llm-json/openai")
        assert (await until_code(elsewhere, token, "PC5023")).code == "PC5023"
    if route.name.startswith("llm"):
        assert "in 1 s" in seen.text
    before = len(route.upstream_saw())
    assert (await route.good(token=token)).code == "PC5023"
    assert len(route.upstream_saw()) == before
    if route.name != "mcp-stdio":  # where it would be another process
        assert (await route.good()).passed, "its neighbour"
        shown = deployment.stage.gate.registry.get_sample_value
        assert shown("portcullis_breakers", {"scope": "agent", "state": "open"}) == 1
        assert shown("portcullis_alarms_total", {"kind": "breaker.open"}) >= 1
    await recorded("PC5023", check="agent-breaker", principal=agent)
    await asyncio.sleep(SECONDS)
    if route.name in {"mcp-http", "mcp-stdio", "guard"}:  # where a call is all that is sent
        assert (await route.effect(token=token)).code == "PC5023", "an effect is no probe"
    assert (await route.good(token=token)).passed, "a read is"
    assert (await until_passed(route.effect, token)).passed

    def said():
        return [e for e in route.events() if e.parameters.get("breaker") == name]

    await until(lambda: len(said()) >= 3)
    assert [e.method for e in said()] == ["breaker.open", "breaker.half_open", "breaker.close"]
    assert said()[0].parameters["reason"] == f"{DENIALS} calls denied within 60 s"


@cells("upstream-breaker", "request", "mcp-stdio")
async def test_a_wrapped_server_is_not_called_while_its_breaker_is_open(
    route, deployment, recorded
):
    """One whose process ended has no next call: here somebody else opens it."""
    token = deployment.token
    assert (await route.good(token=token)).passed
    gateway = (await recorded("", type="tool_call", session=deployment.session)).gateway
    now = time.time()
    await deployment.stage.gate.services.breakers.open(
        Breaker(
            key=Key(scope="upstream", subject=route.server, gateway=gateway),
            state=State.OPEN,
            reason="by the test",
            since=now,
            until=now + 3,
        )
    )
    await until_code(route, token, "PC5022")
    before = len(route.upstream_saw())
    assert (await route.good(token=token)).code == "PC5022"
    assert len(route.upstream_saw()) == before
    assert (await until_passed(route.good, token)).passed


@cells("upstream-breaker", "request", *LLM, *MCP_HTTP)
async def test_a_failing_upstream_gets_a_rest_and_no_agent_takes_it_from_its_neighbours(
    route, deployment, recorded
):
    attacker = mortal(route)
    services = deployment.stage.gate.services
    server = recorded_server(route)
    await services.breakers.close(  # forget what earlier tests counted
        Key(scope="upstream", subject=server, gateway=services.gateway)
    )
    mine = (await deployment.open(attacker))[1]
    await broken(route, mine)
    before = len(route.upstream_saw())
    seen = await route.scripted("plain", token=mine)
    assert seen.code == "PC5022"
    assert len(route.upstream_saw()) == before
    await recorded("PC5022", check="upstream-breaker", principal=attacker)
    theirs = (await deployment.open(RIVAL))[1]
    assert (await route.scripted("plain", token=theirs)).passed, "its neighbour"
    await broken(route, theirs)
    before = len(route.upstream_saw())
    seen = await route.scripted("plain")
    assert seen.code == "PC5022", "now two of them see it fail, and it rests for everybody"
    if route.name.startswith("llm"):
        assert seen.headers["retry-after"] == "1"
    assert len(route.upstream_saw()) == before
    await asyncio.sleep(SECONDS)
    for token in (route.token, theirs, mine):
        assert (await until_passed(partial(route.scripted, "plain"), token)).passed
    name = f"upstream:{server}"
    await until(lambda: "breaker.close" in methods(route, name))
    assert methods(route, name)[:2] == ["breaker.open", "breaker.half_open"]
    assert methods(route, f"{name}/{attacker}")[0] == "breaker.open"


async def broken(route, token):
    """Have the upstream break off until the agent is not let through to it any more."""
    for _ in range(12):
        if (await route.scripted("pieces-break", token=token)).code == "PC5022":
            return
    raise AssertionError("the breaker does not open")


def recorded_server(route):
    return "peer" if route.name in MCP else f"probe-{route.api}"


def methods(route, breaker):
    """What became of a breaker, in this test."""
    new = [event for event in route.events() if event.id not in route.before]
    return [event.method for event in new if event.parameters.get("breaker") == breaker]


async def until_code(route, token, code):
    async with asyncio.timeout(10):
        while (seen := await route.good(token=token)).code != code:
            pass
    return seen


async def until_passed(ask, token):
    async with asyncio.timeout(10):
        while not (seen := await ask(token=token)).passed:
            pass
    return seen
