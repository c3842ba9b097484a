"""If these fail, an agent that was taken over chooses where things go."""

import secrets

import pytest
from mcp.types import ElicitResult

from e2e.matrix.cells import MCP, TOOLS, cells
from e2e.matrix.deployment import SOURCED

pytestmark = pytest.mark.anyio


@pytest.fixture
async def named(deployment):
    """An address, and the token of a session whose user named it."""
    address = f"{secrets.token_hex(6)}@shop.example"
    _, token = await deployment.open(SOURCED, prompt=f"Write to {address}, please")
    return address, token


@cells("provenance", "request", *TOOLS)
async def test_things_go_only_where_the_user_said(route, named, recorded):
    address, token = named
    assert (await route.call("write", token=token, text=address)).passed
    other = f"{secrets.token_hex(6)}@evil.example"
    seen = await route.call("write", token=token, text=other)
    assert seen.code == "PC3060"
    assert other not in seen.text
    await recorded("PC3060", check="provenance", name="write")
    assert not any(other in repr(one) for one in route.upstream_saw())


@cells("provenance", "result", *TOOLS)
async def test_what_a_trusted_field_gave_is_good_from_then_on_in_that_session(
    route, named, deployment
):
    address = f"{secrets.token_hex(6)}@shop.example"
    assert (await route.call("write", token=named[1], text=address)).code == "PC3060"
    assert (await route.call("say", token=named[1], text=address)).passed
    assert (await route.call("write", token=named[1], text=address)).passed
    _, elsewhere = await deployment.open(SOURCED, prompt="Write something, please")
    assert (await route.call("write", token=elsewhere, text=address)).code == "PC3060"


@cells("answers", "stream", *MCP)
async def test_an_answer_goes_only_where_the_user_said(route, named, recorded):
    address, token = named
    other = f"{secrets.token_hex(6)}@evil.example"

    told = [address]

    async def callback(context, params):  # one for all: over standard streams the client stays
        return ElicitResult(action="accept", content={"to": told[-1]})

    async def answered():
        options = {"elicitation_callback": callback}
        return await route.call("ask", token=token, options=options, method="elicitation/create")

    assert (await answered()).text == "answered"
    told.append(other)
    seen = await answered()
    assert "PC3060" in {seen.code, *seen.text.split()}
    assert other not in seen.text
    await recorded("PC3060")
    assert not any(other in repr(one) for one in route.upstream_saw())
