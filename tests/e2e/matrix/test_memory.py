"""If these fail, one session launders for another what it leaves in a memory."""

import secrets

import pytest

from e2e.matrix.cells import TOOLS, cells
from e2e.matrix.deployment import SOURCED

pytestmark = pytest.mark.anyio


@pytest.fixture
async def named(deployment):
    """An address, the token of a session whose user named it, and one of a session of another."""
    address = f"{secrets.token_hex(6)}@shop.example"
    _, token = await deployment.open(SOURCED, prompt=f"Remember {address}, please")
    _, elsewhere = await deployment.open(SOURCED, prompt="Write to our supplier, please")
    return address, token, elsewhere


@cells("memory", "request", *TOOLS)
async def test_nothing_is_left_for_others_before_its_labels_are(route, named, deployment, recorded):
    word = secrets.token_hex(8)
    with deployment.without("memory_labels"):
        seen = await route.call("keep", token=named[1], key="plan", text=word)
    assert seen.code == "PC9002"
    await recorded("PC9002", check="memory", name="keep")
    assert not any(word in repr(one) for one in route.upstream_saw())
    assert (await route.call("keep", token=named[1], key="plan", text=word)).passed
    assert any(word in repr(one) for one in route.upstream_saw())


@cells("memory", "result", *TOOLS)
async def test_what_is_recalled_is_good_for_what_it_was_good_for_when_it_was_kept(route, named):
    address, token, elsewhere = named
    other = f"{secrets.token_hex(6)}@evil.example"
    for key, text in (("ours", address), ("theirs", other)):
        assert (await route.call("keep", token=token, key=key, text=text)).passed
        assert (await route.call("write", token=elsewhere, text=text)).code == "PC3060"
        assert (await route.call("recall", token=elsewhere, key=key, text=text)).passed
    assert (await route.call("write", token=elsewhere, text=address)).passed
    assert (await route.call("write", token=elsewhere, text=other)).code == "PC3060"
