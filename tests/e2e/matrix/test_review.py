"""If these fail, nobody looks at what policy let pass at a high risk."""

import asyncio
import secrets

import pytest

from e2e.matrix.cells import EVERY, cells, until
from e2e.matrix.deployment import operator
from portcullis.bootstrap.projection import projection_of
from portcullis.cli.audit_query import catch_up
from portcullis.config import load
from portcullis.core.review import Disposition, State, Wanted

pytestmark = pytest.mark.anyio


@cells("review", "request", *EVERY)
async def test_what_passes_at_a_high_risk_is_in_the_queue_until_somebody_says_what_it_was(
    route, deployment, told
):
    if route.name.startswith("llm"):
        model = "claude-standin:say" if route.api == "anthropic" else "gpt-standin:say"
        done = await route.ask(model, f"Say {secrets.token_hex(8)}")
    else:
        done = await route.call("fetch", text=secrets.token_hex(8))
    assert done.passed
    await until(lambda: [event for event in told() if event.review])
    (event,) = [event for event in told() if event.review]
    assert (event.verdict, event.risk, event.approval) == ("allow", "external", "not_required")
    reviewing = deployment.stage.gate.services.reviews("test")

    def read():
        config = load(deployment.config)
        with projection_of(config) as projection:
            catch_up(config, projection)

    async def listed(state):
        found = await reviewing.list(Wanted(state=state, risk="external"))
        return [one.id for one in found]

    async with asyncio.timeout(10):
        while event.id not in await listed(State.OPEN):
            await asyncio.to_thread(read)
            await asyncio.sleep(0.1)
    entry, looked = await reviewing.show(operator(), event.id)
    assert (entry.agent, looked.user) == (event.principal, "ada")
    assert looked.session.prompts == ("Where is my order O-5001?",)
    await reviewing.close(operator(), event.id, Disposition.EXPECTED, "a test")
    assert event.id not in await listed(State.OPEN)
    assert event.id in await listed(State.CLOSED)
