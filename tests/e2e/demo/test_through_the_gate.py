"""Official clients through the gate to a provider and tools that misbehave in every known way."""

import json

import anthropic
import openai
import pytest
from mcp import MCPError

import standins
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio

SAY = [{"role": "user", "content": "one two three four five six seven eight"}]

# What the provider does -> the gate's code, for a whole answer and for a stream (None: passed on).
FAULTS = {
    "die-mid-stream": ("PC5008", "PC5008"),
    "end-early": ("PC5008", "PC5008"),
    "unknown-item": ("PC5003", "PC5003 PC5010"),
    "unknown-event": ("PC5003", "PC5003 PC5010"),
    "malformed": ("PC5003", "PC5003"),
    "broken-arguments": ("PC5003", "PC5003"),
    "reflect-credential": ("PC5005", "PC5005"),
    "reflect-credential-header": ("PC5005", "PC5005"),
    "redirect": ("PC5003", "PC5003"),
    "html": ("PC5003", None),
    "gzip": ("PC5003", None),
    "cut-bytes": (None, None),
    "cookie": (None, None),
    "say": (None, None),
}


@pytest.fixture
async def stage(tmp_path):
    async with standins.staged(tmp_path / "stage") as opened:
        yield opened


async def asked(create, consume) -> str:
    """What the official client raises, or nothing."""
    try:
        await consume(await create())
    except (openai.OpenAIError, anthropic.AnthropicError) as error:
        return f"{error} {getattr(error, 'body', '')}"
    return ""


async def whole(answer) -> None:
    assert answer.model_dump()


async def stream(events) -> None:
    async for event in events:
        assert event


@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
async def test_a_broken_provider_reaches_the_client_as_an_error_with_a_code(stage, api):
    token = await standins.agent_token(stage)
    gpt, claude = standins.openai_client(stage, token), standins.anthropic_client(stage, token)
    for directive, (for_whole, for_stream) in FAULTS.items():
        for streaming, codes in ((False, for_whole), (True, for_stream)):

            async def create(directive=directive, streaming=streaming):
                common = {"stream": streaming}
                if api == "chat":
                    return await gpt.chat.completions.create(
                        model=f"gpt-standin:{directive}", messages=SAY, **common
                    )
                if api == "responses":
                    return await gpt.responses.create(
                        model=f"gpt-standin:{directive}", input=SAY[0]["content"], **common
                    )
                return await claude.messages.create(
                    model=f"claude-standin:{directive}", max_tokens=99, messages=SAY, **common
                )

            said = await asked(create, stream if streaming else whole)
            case = (api, directive, streaming, said)
            if codes is None:
                assert not said, case
            else:
                assert any(code in said for code in codes.split()), case
            assert not any(key in said for key in stage.upstream_credentials), case
    # Whatever happened, every allowed call has the record of its end.
    decided = {e.id for e in stage.events() if e.type == "llm_call" and e.verdict == "allow"}
    for event_id in decided:
        await standins.eventually(stage, lambda e, i=event_id: e.decision == i)
    assert len(decided) == 2 * len(FAULTS)
    await gpt.close()
    await claude.close()


async def test_errors_of_the_provider_keep_their_status_and_retry_after(stage):
    token = await standins.agent_token(stage)
    async with standins.openai_client(stage, token) as gpt:
        with pytest.raises(openai.RateLimitError) as limited:
            await gpt.chat.completions.create(model="gpt-standin:error-429", messages=SAY)
        assert limited.value.response.headers["retry-after"] == "7"
        with pytest.raises(openai.InternalServerError):
            await gpt.chat.completions.create(model="gpt-standin:error-500", messages=SAY)
        with pytest.raises(openai.APIError):
            await stream(
                await gpt.chat.completions.create(
                    model="gpt-standin:error-mid-stream", messages=SAY, stream=True
                )
            )


async def test_the_agents_token_stays_at_the_gate_and_the_providers_things_beyond_it(stage):
    token = await standins.agent_token(stage)
    async with standins.openai_client(stage, token) as gpt:
        shown = await gpt.chat.completions.create(
            model="gpt-standin:reflect-headers",
            messages=SAY,
            extra_headers={"cookie": "a=b", "x-forwarded-for": "10.0.0.1"},
        )
        headers = json.loads(shown.choices[0].message.content)
        assert headers["authorization"] == "Bearer *"
        assert not {"cookie", "x-forwarded-for"} & set(headers)
        assert token not in shown.choices[0].message.content
        raw = await gpt.chat.completions.with_raw_response.create(
            model="gpt-standin:cookie", messages=SAY
        )
        assert not {"set-cookie", "x-hop"} & set(raw.headers)


async def test_usage_is_recorded_for_streams_that_did_not_ask_for_it(stage):
    token = await standins.agent_token(stage)
    async with standins.openai_client(stage, token) as gpt:
        chunks = [
            chunk
            async for chunk in await gpt.chat.completions.create(
                model="gpt-standin:say", messages=SAY, stream=True
            )
        ]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    ended = await standins.eventually(stage, lambda e: e.type == "llm_result")
    assert ended.output_tokens


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_both_eras_of_mcp_get_the_same_answers_and_refusals(stage, mode, version):
    token = await standins.agent_token(stage)
    async with standins.mcp_client(stage, "crm", token, mode=mode) as crm:
        assert crm.protocol_version == version
        assert [tool.name for tool in (await crm.list_tools()).tools] == ["get_customer"]
        own = await crm.call_tool("get_customer", {"customer_id": "C-1001"})
        assert own.structured_content["name"] == "Ada Example"
        for name, customer, code in (
            ("get_customer", "C-1002", "PC3004"),
            ("delete_customer", "C-1001", "PC3002"),
        ):
            with pytest.raises(MCPError) as refused:
                await crm.call_tool(name, {"customer_id": customer})
            assert refused.value.data["code"] == code
            await standins.eventually(stage, lambda e, c=code: e.code == c)
    assert stage.records.count("customers") == 2
    async with standins.mcp_client(stage, "kb", token, mode=mode) as kb:
        page = await kb.read_resource("kb://articles/returns")
        assert "30 days" in page.contents[0].text
        assert (await kb.list_prompts()).prompts == []


async def test_a_grant_narrows_and_an_agent_without_a_session_sees_no_rows(stage):
    narrow = await standins.agent_token(stage, tools=["orders.get"])
    async with standins.mcp_client(stage, "orders", narrow) as orders:
        assert [tool.name for tool in (await orders.list_tools()).tools] == ["get"]
        with pytest.raises(MCPError) as refused:
            await orders.call_tool("search", {"customer_id": "C-1001"})
        assert refused.value.data["code"] == "PC3007"
    alone = await stage.register(PrincipalKind.AGENT, "support-agent-prod-002")
    async with standins.mcp_client(stage, "orders", alone) as orders:
        with pytest.raises(MCPError) as refused:
            await orders.call_tool("search", {"customer_id": "C-1001"})
        assert refused.value.data["code"] == "PC3008"


async def test_policy_of_another_deployment_applies(tmp_path):
    policy = (
        "version: 1\nagents:\n  other: {role: nobody, owner: me}\n"
        "roles:\n  nobody: {models: [gpt-*]}\n"
    )
    async with standins.staged(tmp_path / "stage", policy=policy) as stage:
        token = await standins.agent_token(stage, "other")
        async with standins.openai_client(stage, token) as gpt:
            said = await gpt.chat.completions.create(model="gpt-standin:say", messages=SAY)
            assert said.choices[0].message.content == SAY[0]["content"]
        with pytest.RaisesGroup(MCPError, flatten_subgroups=True):
            async with standins.mcp_client(stage, "orders", token) as orders:
                await orders.list_tools()
        await standins.eventually(stage, lambda e: (e.server, e.code) == ("orders", "PC3001"))
