"""The official model clients, unmodified: only base URL and token. If these fail, agents must be
rewritten to use the gate."""

import anthropic
import openai
import pytest

from standins import agent_token, anthropic_client, eventually, openai_client, staged

pytestmark = pytest.mark.anyio

ASK = [{"role": "user", "content": "Say something short."}]


@pytest.fixture
async def stage(tmp_path):
    async with staged(tmp_path) as running:
        yield running


@pytest.fixture
async def token(stage):
    return await agent_token(stage)


@pytest.fixture
async def chat(stage, token):
    async with openai_client(stage, token) as client:
        yield client


@pytest.fixture
async def claude(stage, token):
    async with anthropic_client(stage, token) as client:
        yield client


async def test_openai_chat(stage, chat):
    answer = await chat.chat.completions.create(model="gpt-standin", messages=ASK)
    assert answer.choices[0].message.content
    assert answer.usage.total_tokens > 0
    leaf = await eventually(stage, lambda event: event.type == "llm_result")
    assert leaf.output_tokens == answer.usage.completion_tokens


async def test_openai_chat_stream_without_asking_for_usage_shows_none_but_records_it(stage, chat):
    stream = await chat.chat.completions.create(model="gpt-standin", messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    leaf = await eventually(stage, lambda event: event.type == "llm_result")
    assert leaf.output_tokens > 0
    assert leaf.route == "llm-stream"


async def test_openai_responses_and_its_stream(stage, chat):
    client = chat
    answer = await client.responses.create(model="gpt-standin", input="Say something short.")
    assert answer.output_text
    async with client.responses.stream(model="gpt-standin", input="Say it again.") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[-1] == "response.completed"
    assert final.output_text


async def test_openai_embeddings(stage, chat):
    answer = await chat.embeddings.create(model="text-embedding-standin", input=["one", "two"])
    assert len(answer.data) == 2


async def test_anthropic_messages_and_their_stream(claude):
    client = claude
    answer = await client.messages.create(model="claude-standin", max_tokens=100, messages=ASK)
    assert answer.content[0].text
    async with client.messages.stream(
        model="claude-standin", max_tokens=100, messages=ASK
    ) as stream:
        text = "".join([piece async for piece in stream.text_stream])
    assert text


async def test_anthropic_count_tokens_and_bearer_tokens(stage, token):
    async with anthropic.AsyncAnthropic(
        base_url=f"{stage.gate.gate_url}/anthropic", auth_token=token, max_retries=0
    ) as client:
        counted = await client.messages.count_tokens(model="claude-standin", messages=ASK)
    assert counted.input_tokens > 0


async def test_a_denial_raises_the_clients_own_error_with_our_code(chat, claude):
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await chat.chat.completions.create(model="o9", messages=ASK)
    assert refused.value.code == "PC3005"
    with pytest.raises(anthropic.PermissionDeniedError, match="PC3005"):
        await claude.messages.create(model="opus", max_tokens=5, messages=ASK)


async def test_a_wrong_token_raises_the_clients_own_authentication_error(stage):
    async with openai_client(stage, "not-a-token") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="gpt-standin", messages=ASK)
    async with anthropic_client(stage, "not-a-token") as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model="claude-standin", max_tokens=5, messages=ASK)


async def test_denials_are_not_retried_by_the_clients(stage, chat):
    client = chat.with_options(max_retries=3)
    with pytest.raises(openai.APIStatusError):
        await client.chat.completions.create(model="gpt-standin:unknown-item", messages=ASK)
    calls = [event for event in stage.events() if event.type == "llm_call"]
    assert len(calls) == 1
