"""If these fail, somebody acts through the gate who may not, or in another's name."""

import pytest

import standins
from e2e.matrix.cells import ALL, LLM, MCP_HTTP, cells
from e2e.matrix.deployment import RIVAL
from e2e.matrix.routes import MODERN, say_yes
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio


def expired(deployment) -> str:
    authority = deployment.stage.gate.services.authority
    return authority.mint(PrincipalKind.AGENT, standins.AGENT, ttl=-1).token


@cells("authenticate", "request", *ALL)
async def test_without_a_valid_credential_of_an_agent_nothing_passes(route, deployment, recorded):
    assert (await route.good()).passed
    before = len(route.upstream_saw())
    for token, code in (
        ("not-a-token", "PC2002"),
        (expired(deployment), "PC2003"),
        (deployment.application, "PC2004"),
    ):
        seen = await route.good(token=token)
        assert seen.failed
        assert seen.code in {code, ""}  # the MCP client hides the answer to a failed handshake
        await recorded(code)
    assert len(route.upstream_saw()) == before


@cells("session", "request", *ALL)
async def test_a_session_that_was_closed_serves_nobody(route, deployment, recorded):
    session, token = await deployment.open()
    assert (await route.good(token=token)).passed
    await deployment.close_session(session)
    seen = await route.good(token=token)
    assert seen.failed
    assert seen.code in {"PC2006", ""}
    await recorded("PC2006")
