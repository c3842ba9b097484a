"""If these fail, the gate decides on one thing and another is done, or reaches the agent."""

import json

import pytest

from e2e.matrix.cells import ALL, LLM, MCP, MCP_HTTP, NETWORK, cells
from e2e.matrix.routes import MODERN

pytestmark = pytest.mark.anyio


@cells("strict-input", "request", *ALL)
async def test_a_request_that_two_parsers_read_differently_is_refused(route, recorded):
    good = route.body()
    assert (await route.raw(good)).passed
    before = len(route.upstream_saw())
    number = b'"max_tokens": 9' if route.name in LLM else b'"id": 1'
    name = number.partition(b":")[0]
    for bad, code in (
        (good.replace(number, number + b", " + number), "PC1003"),
        (good.replace(number, name + b': "\\u0000"'), "PC1004"),
        (good.replace(number, name + b': "\xff"'), "PC1002"),
        (good.replace(number, name + b": " + b"[" * 70 + b"]" * 70), "PC1005"),
        (good.replace(number, name + b": 1e999"), "PC1006"),
    ):
        seen = await route.raw(bad)
        assert seen.code == code
        await recorded(code)
    assert len(route.upstream_saw()) - before <= 5 * (route.name == "mcp-http-legacy")


@cells("strict-input", "result", *LLM, *MCP_HTTP)
async def test_an_answer_that_two_parsers_read_differently_is_withheld(route, recorded):
    plain = await route.scripted("plain")
    assert plain.code == ""
    seen = await route.scripted("duplicate-key")
    assert seen.failed
    assert seen.code == "PC5003"
    await recorded("PC5003")


@cells("strict-input", "stream", *ALL)
async def test_a_piece_that_two_parsers_read_differently_goes_no_further(route, recorded):
    good = await route.scripted("pieces")
    assert good.passed
    seen = await route.scripted("pieces-duplicate-key")
    if route.name == "mcp-stdio":
        # A line of standard output is a message of its own: the bad one is left out.
        assert len(seen.pieces) == len(good.pieces) - 1
        return
    assert seen.code == "PC5003"
    assert len(seen.pieces) <= len(good.pieces)
    await recorded("PC5003")


@cells("shape", "request", *ALL)
async def test_a_field_or_method_that_no_check_knows_is_refused(route, recorded):
    if route.name.startswith("llm-"):
        assert (await route.ask("probe:plain")).passed
        seen = await route.ask("probe:plain", extra_body={"shadow": {"run": "x"}})
        assert seen.code == "PC1021"
        await recorded("PC1021")
        return
    assert (await route.raw(route.body())).passed
    for body, code in (
        (route.body("tools/steal"), "PC1034"),
        (route.body("tools/list", shadow=1), "PC1021"),
        (route.body()[:-1] + b', "shadow": 1}', "PC1030"),
    ):
        method = json.loads(body)["method"]
        assert (await route.raw(body, method=method)).code == code
        await recorded(code)


@cells("shape", "result", *ALL)
async def test_an_answer_with_something_unknown_in_it_is_withheld(route, recorded):
    assert (await route.scripted("plain")).code == ""
    seen = await route.scripted("unknown")
    assert seen.code == "PC5003"
    await recorded("PC5003")


@cells("shape", "stream", *LLM, *MCP_HTTP)
async def test_an_unknown_event_ends_the_stream(route, recorded):
    assert (await route.scripted("pieces")).passed
    seen = await route.scripted("pieces-unknown" if route.name in LLM else "pieces-event")
    assert seen.failed
    assert seen.code in {"PC5010", "PC5003"}
    await recorded(seen.code)


@cells("shape", "stream", *MCP)
async def test_an_unknown_notification_is_left_out(route, recorded):
    good = await route.scripted("pieces")
    assert good.passed
    seen = await route.scripted("pieces-unknown")
    assert seen.passed
    assert len(seen.pieces) == len(good.pieces) - 1
    await recorded("PC5010")


@cells("headers", "request", *NETWORK)
async def test_headers_that_two_readers_read_differently_are_refused(route, recorded):
    good = route.body()
    assert (await route.raw(good)).passed
    bad = [
        ([("content-type", "text/plain")], "PC1011"),
        ([("authorization", "Bearer other")], "PC1011"),
        ([("content-length", "5")], "PC1011"),
        ([("transfer-encoding", "chunked"), ("content-length", "5")], "PC1011"),
    ]
    if route.name == "mcp-http":
        bad.append(([("mcp-method", "tools/call")], "PC1032"))
    if route.name == "mcp-http-legacy":
        bad.append(([("mcp-protocol-version", "2025-03-26")], "PC1032"))
    for headers, code in bad:
        seen = await route.raw(good, headers)
        assert seen.code == code, headers
        await recorded(code)
    if route.mode == MODERN:
        call = route.body("tools/call", name="say", arguments={})
        assert (await route.raw(call, method="tools/list")).code == "PC1032"
        await recorded("PC1032")


@cells("headers", "result", *LLM, *MCP_HTTP)
async def test_headers_of_an_upstream_do_not_cross_the_gate(route, deployment, recorded):
    seen = await route.raw(route.body())
    assert seen.passed
    head = seen.text.partition("\r\n\r\n")[0].lower()
    assert "content-type" in head
    assert "stray" not in head
    assert not [id_ for id_ in deployment.peer.sessions if id_ in head]
    refused = await route.scripted("redirect")
    assert refused.code == "PC5003"
    assert "elsewhere" not in refused.text
    await recorded("PC5003")


@cells("hold-tool-calls", "stream", "llm-stream")
async def test_no_part_of_a_broken_tool_call_reaches_the_agent(route, recorded):
    family = "claude" if route.api == "anthropic" else "gpt"
    tool = {"name": "orders__search", "description": "x"}
    schema = {"type": "object", "properties": {}}
    offered = (
        {**tool, "input_schema": schema}
        if route.api == "anthropic"
        else {"type": "function", "function": {**tool, "parameters": schema}}
    )
    call = json.dumps([{"name": "orders__search", "arguments": {"customer_id": "C-1001"}}])
    seen = await route.ask(f"{family}-standin:call", call, tools=[offered])
    assert seen.passed
    assert "C-1" in "".join(seen.pieces)
    for how, code in (("broken-arguments", "PC5003"), ("die-mid-stream", "PC5008")):
        model = f"{family}-standin:{how}"
        broken = await route.ask(model, "customer C-1001", tools=[offered])
        assert broken.code == code
        assert "orders__search" not in "".join(broken.pieces)
        assert "C-1001" not in "".join(broken.pieces)
        await recorded(code)
