"""If these fail, what waits for a human happens without one, otherwise than approved, or twice."""

import re
import secrets

import pytest

from e2e.matrix.cells import EVERY, cells
from e2e.matrix.deployment import MINDED, operator

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def minded(deployment):
    return (await deployment.open(MINDED))[1]


@cells("approval", "request", *EVERY)
async def test_a_held_call_happens_once_when_a_human_approved_exactly_it(
    route, minded, deployment, recorded
):
    about = f"{secrets.token_hex(8)}@shop.example"

    async def ask(more=""):
        text = f"Write to {about}{more}"
        if route.name.startswith("llm"):
            model = "claude-standin:say" if route.api == "anthropic" else "gpt-standin:say"
            return await route.ask(model, text, token=minded)
        return await route.call("write", token=minded, text=text)

    def asked():
        return sum(about in repr(one) for one in route.upstream_saw())

    held = await ask()
    approval = re.search(r"approval ([0-9a-f]{32}) is pending", held.text)[1]
    assert (held.failed, asked()) == (True, 0)
    await recorded("PC3040", verdict="hold", approval=approval)
    approving = deployment.stage.gate.services.approvals("test")
    await approving.approve(operator(), approval, "a test")
    other = await ask(", and to the press")
    assert approval not in other.text
    assert (other.failed, asked()) == (True, 0)
    assert (await ask()).passed
    assert asked() == 1
    again = await ask()
    assert approval not in again.text
    assert (again.failed, asked()) == (True, 1)
    assert about not in repr(route.events())
