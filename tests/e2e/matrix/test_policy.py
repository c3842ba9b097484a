"""If these fail, an agent does what its role, its task or its customer do not allow."""

import pytest
from mcp.types import CreateMessageResult, TextContent

from e2e.matrix.cells import GUARD, LLM, MCP, TOOLS, cells
from e2e.matrix.deployment import SERVERS
from e2e.matrix.routes import say_yes

pytestmark = pytest.mark.anyio
OWN, OTHER = "C-1001", "C-1002"
GRANT = [f"{server}.{tool}" for server in SERVERS for tool in ("say", "hidden")]


@cells("validate", "request", *TOOLS)
async def test_only_tools_that_exist_with_arguments_that_fit(route, recorded):
    good = await route.call("search", server=route.tools, customer_id=OWN)
    assert good.passed
    assert OWN in good.text
    assert (await route.call("fetch", url="https://shop.example/", host="shop.example")).passed
    for code, server, name, arguments in (
        ("PC3003", route.server, "imaginary", {}),
        ("PC3010", route.tools, "search", {"customer_id": OWN, "limit": "all"}),
        ("PC3010", route.tools, "search", {"customer_id": OWN, "shadow": 1}),
        ("PC3011", route.tools, "search", {"customer_id": "C-1001' OR 1=1 --"}),
        ("PC3011", route.server, "fetch", {"url": "http://169.254.169.254/latest/meta-data"}),
        ("PC3011", route.server, "fetch", {"host": "{{config.items()}}"}),
    ):
        if (route.name, code) == (GUARD, "PC3003"):
            continue  # whoever calls a tool there says what it is
        seen = await route.call(name, server=server, **arguments)
        assert seen.code == code
        await recorded(code, check="validate", name=name)


@cells("validate", "result", *TOOLS)
async def test_a_result_that_breaks_its_schema_is_withheld(route, recorded):
    assert (await route.call("typed", good=True)).passed
    seen = await route.call("typed", good=False)
    assert seen.code == "PC5009"
    await recorded("PC5009", check="validate", name="typed")


@cells("authorize", "request", *LLM)
async def test_models_that_the_role_does_not_list_are_refused(route, recorded):
    assert (await route.good()).passed
    before = len(route.upstream_saw())
    seen = await route.ask("forbidden-model")
    assert seen.code == "PC3005"
    await recorded("PC3005", check="authorize", name="forbidden-model")
    assert len(route.upstream_saw()) == before


@cells("authorize", "request", *TOOLS)
async def test_tools_that_the_role_does_not_grant_are_refused(route, recorded):
    assert (await route.good()).passed
    seen = await route.call("hidden", text="x")
    assert seen.code == "PC3001"
    await recorded("PC3001", name="hidden")
    called = [one["message"].get("params", {}).get("name") for one in route.upstream_saw()]
    assert "hidden" not in called


@cells("authorize", "result", *MCP)
async def test_lists_show_only_what_may_be_used(route):
    shown = await route.listed(route.server)
    assert {"say", "misbehave"} <= shown
    assert "hidden" not in shown


@cells("row-scope", "request", *TOOLS)
async def test_an_agent_sees_the_rows_of_its_sessions_subject_only(route, recorded):
    own = await route.call("search", server=route.tools, customer_id=OWN)
    assert own.passed
    other = await route.call("search", server=route.tools, customer_id=OTHER)
    assert other.code == "PC3004"
    assert OTHER not in other.text
    await recorded("PC3004", check="authorize", name="search")


@pytest.fixture(scope="module")
async def narrow(deployment):
    """A token of a session whose task declared few tools, one of which policy does not grant."""
    return (await deployment.open(tools=GRANT))[1]


@cells("grant", "request", *TOOLS)
async def test_a_task_uses_only_the_tools_it_declared(route, narrow, recorded):
    assert (await route.call("write", text="x")).passed
    assert (await route.call("say", token=narrow, text="x")).passed
    seen = await route.call("write", token=narrow, text="x")
    assert seen.code == "PC3007"
    await recorded("PC3007", name="write")
    assert (await route.call("hidden", token=narrow, text="x")).code == "PC3001"


@pytest.fixture(scope="module")
async def bounded(deployment):
    """A token of a session whose task bounded an argument."""
    said = {"text": {"enum": ["one", "two"]}}
    tools = [{"tool": f"{server}.say", "arguments": said} for server in SERVERS]
    return (await deployment.open(tools=tools))[1]


@cells("grant", "request", *TOOLS)
async def test_a_task_uses_its_tools_only_as_it_declared(route, bounded, recorded):
    assert (await route.call("say", token=bounded, text="one")).passed
    seen = await route.call("say", token=bounded, text="three")
    assert seen.code == "PC3015"
    await recorded("PC3015", name="say")


@cells("grant", "result", *MCP)
async def test_a_task_is_shown_only_the_tools_it_declared(route, narrow):
    assert "write" in await route.listed()
    assert await route.listed(token=narrow) == {"say"}


@cells("provider-side", "request", *LLM)
async def test_nothing_runs_at_the_provider_unseen(route, recorded):
    assert (await route.good()).passed
    before = len(route.upstream_saw())
    search = {"type": "web_search_20250305", "name": "web_search"}
    asked = {"tools": [search]} if route.api == "anthropic" else {"web_search_options": {}}
    family = "claude" if route.api == "anthropic" else "gpt"
    seen = await route.ask(f"{family}-standin:say", **asked)
    assert seen.code == "PC3006"
    await recorded("PC3006", check="authorize")
    assert len(route.upstream_saw()) == before


@cells("server-requests", "stream", *MCP)
async def test_what_a_server_asks_of_the_client_is_decided_on(route, recorded):
    sampled = []

    async def sample(context, params):
        sampled.append(params)
        return CreateMessageResult(
            role="assistant", content=TextContent(type="text", text="all"), model="m"
        )

    options = {"elicitation_callback": say_yes, "sampling_callback": sample}
    allowed = await route.call("ask", options=options, method="elicitation/create")
    assert allowed.passed
    assert allowed.text == "answered"
    denied = await route.call("ask", options=options, method="sampling/createMessage")
    assert sampled == []
    assert denied.code == "PC3001" or denied.text == "refused PC3001"
    await recorded("PC3001", action="server_request", name="sampling/createMessage")
