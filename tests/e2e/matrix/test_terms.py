"""If these fail, a grant serves for more than it was given for, or a denial is passed by."""

import pytest

from e2e.matrix.cells import LLM, MCP, TOOLS, cells
from e2e.matrix.deployment import TERMED

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def termed(deployment):
    return (await deployment.open(TERMED))[1]


@cells("conditions", "request", *TOOLS)
async def test_a_tool_is_granted_only_on_its_terms(route, termed, recorded):
    assert (await route.call("say", token=termed, text="yes")).passed
    assert (await route.call("typed", token=termed, good=True)).passed
    for name, arguments, term in (
        ("say", {"text": "no"}, "when"),
        ("write", {"text": "x"}, "during"),
        ("fetch", {"host": "shop.example"}, "environments"),
    ):
        seen = await route.call(name, token=termed, **arguments)
        assert seen.code == "PC3001"
        event = await recorded("PC3001", name=name)
        assert f".{term} @ " in event.rule


@cells("conditions", "request", *LLM)
async def test_a_model_is_granted_only_on_its_terms(route, termed, recorded):
    assert (await route.good(token=termed)).passed
    for model, term in (("night-model", "during"), ("staged-model", "environments")):
        seen = await route.ask(model, token=termed)
        assert seen.code == "PC3005"
        event = await recorded("PC3005", check="authorize", name=model)
        assert f".{term} @ " in event.rule


@cells("conditions", "result", *MCP)
async def test_an_agent_is_shown_what_some_call_of_its_could_be_granted_now(route, termed):
    shown = await route.listed(route.server, token=termed)
    assert {"say", "typed"} <= shown
    assert not {"write", "fetch", "misbehave"} & shown


@cells("hand-written", "request", *TOOLS)
async def test_a_hand_written_rule_denies_a_tool_that_is_granted(route, termed, recorded):
    assert (await route.call("typed", token=termed, good=True)).passed
    seen = await route.call("spare", token=termed, text="x")
    assert seen.code == "PC3019"
    event = await recorded("PC3019", check="authorize", name="spare")
    assert event.rule.startswith("custom.matrix.deny @ policy/matrix.rego:")


@cells("hand-written", "request", *LLM)
async def test_a_hand_written_rule_denies_a_model_that_is_granted(route, termed, recorded):
    assert (await route.good(token=termed)).passed
    assert (await route.ask("gpt-refused", token=termed)).code == "PC3019"
    await recorded("PC3019", check="authorize", name="gpt-refused")
