"""If these fail, somebody acts through the gate who may not, or in another's name."""

import asyncio

import pytest

import standins
from e2e.matrix.cells import EVERY, MCP_HTTP, cells
from e2e.matrix.deployment import RIVAL
from e2e.matrix.routes import MODERN, say_yes
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio


def expired(deployment) -> str:
    authority = deployment.stage.gate.services.authority
    return authority.mint(PrincipalKind.AGENT, standins.AGENT, ttl=-1).token


@cells("authenticate", "request", *EVERY)
async def test_without_a_valid_credential_of_an_agent_nothing_passes(route, deployment, recorded):
    assert (await route.good()).passed
    before = len(route.upstream_saw())
    bad = {
        "PC2002": "not-a-token",
        "PC2003": expired(deployment),
        "PC2004": deployment.application,
    }
    seen = await asyncio.gather(*(route.good(token=token) for token in bad.values()))
    for code, answer in zip(bad, seen, strict=True):
        assert answer.failed
        assert answer.code in {code, ""}  # the MCP client hides the answer to a failed handshake
        await recorded(code)
    assert len(route.upstream_saw()) == before


@cells("session", "request", *EVERY)
async def test_a_session_that_was_closed_serves_nobody(route, deployment, recorded):
    session, token = await deployment.open()
    assert (await route.good(token=token)).passed
    await deployment.close_session(session)
    seen = await route.good(token=token)
    assert seen.failed
    assert seen.code in {"PC2006", ""}
    await recorded("PC2006")


@cells("binding", "request", *MCP_HTTP)
async def test_nobody_rides_on_anothers_conversation(route, deployment, recorded):
    _, rival = await deployment.open(RIVAL)
    if route.mode == MODERN:
        await state_is_bound(route, rival)
        await recorded("PC1037", principal=RIVAL)
        return
    own = await route.session(route.token)
    head = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")]
    body = route.body("tools/call", name="say", arguments={"text": "hi"})
    session = ("mcp-session-id", own)
    path = f"/mcp/{route.server}"
    mine = await deployment.post(path, body, [*head, session], token=route.token)
    assert mine.passed
    foreign = await deployment.post(path, body, [*head, session], token=rival)
    assert foreign.code == "PC1035"
    await recorded("PC1035", principal=RIVAL)
    event = await deployment.first_event(path, own, route.token)
    resumed = await deployment.first_event(path, own, route.token, after=event)
    assert resumed
    theirs = await route.session(rival)
    assert await deployment.first_event(path, theirs, rival, after=event) == ""
    await recorded("PC1037", principal=RIVAL)


async def state_is_bound(route, rival):
    """The requestState that one agent was given is worth nothing to another."""
    options = {"elicitation_callback": say_yes}
    answered = await route.call("ask", options=options, method="elicitation/create")
    assert answered.text == "answered"
    arguments = {"method": "elicitation/create"}
    yes = {"q": {"action": "accept", "content": {"sure": True}}}
    async with route.client(**options) as client:
        asked = await client.session.call_tool("ask", arguments, allow_input_required=True)
    for token, code in ((route.token, ""), (rival, "PC1037")):
        seen = await route.call(
            "ask",
            token=token,
            options=options,
            more={"input_responses": yes, "request_state": asked.request_state},
            **arguments,
        )
        assert seen.code == code
