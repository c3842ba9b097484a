"""The official clients work against the stand-in, so what fails through a gate is the gate's."""

import base64
import json
import struct

import anthropic
import openai
import pytest

from portcullis.demo.model import StandinModel

pytestmark = pytest.mark.anyio

CALLS = [
    {"name": "orders__search", "arguments": {"customer_id": "C-1001", "note": 'quote " and é'}},
    {"name": "kb__search_knowledge_base", "arguments": {}},
]
SAY = [
    {"role": "user", "content": "Twelve words, exactly these, and not one more than that, please!"}
]
CALL = [{"role": "user", "content": json.dumps(CALLS)}]


async def test_chat_says_exactly_what_it_is_told(gpt):
    answer = await gpt.chat.completions.create(model="gpt-standin:say", messages=SAY)
    assert answer.choices[0].message.content == SAY[0]["content"]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.system_fingerprint == "portcullis-stand-in"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_chat_answers_are_the_same_for_the_same_request(gpt):
    first, second = [
        await gpt.chat.completions.create(model="gpt-standin:say", messages=SAY) for _ in "ab"
    ]
    assert first == second


async def test_chat_stream_joins_to_the_same_text_and_reports_usage_only_when_asked(gpt):
    for options in ({}, {"stream_options": {"include_usage": True}}):
        stream = await gpt.chat.completions.create(
            model="gpt-standin:say", messages=SAY, stream=True, **options
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == SAY[0]["content"]
        assert (chunks[-1].usage is not None) == bool(options)
        assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_chat_proposes_parallel_calls_whole_and_in_fragments(gpt):
    answer = await gpt.chat.completions.create(model="gpt-standin:call", messages=CALL)
    whole = [
        (c.function.name, json.loads(c.function.arguments))
        for c in answer.choices[0].message.tool_calls
    ]
    assert whole == [(call["name"], call["arguments"]) for call in CALLS]
    assert answer.choices[0].finish_reason == "tool_calls"

    async with gpt.chat.completions.stream(model="gpt-standin:call", messages=CALL) as stream:
        fragments = 0
        async for event in stream:
            fragments += event.type == "tool_calls.function.arguments.delta"
        final = await stream.get_final_completion()
    streamed = [
        (c.function.name, json.loads(c.function.arguments))
        for c in final.choices[0].message.tool_calls
    ]
    assert streamed == whole
    assert fragments > len(CALLS)


async def test_chat_gives_as_many_choices_as_asked(gpt):
    answer = await gpt.chat.completions.create(model="gpt-standin:say", messages=SAY, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


async def test_echo_is_about_a_kilobyte_and_thirty_chunks(gpt):
    raw = await gpt.chat.completions.with_raw_response.create(
        model="gpt-standin:echo", messages=SAY
    )
    assert 900 <= len(raw.content) <= 1200
    assert raw.parse().choices[0].message.content
    stream = await gpt.chat.completions.create(model="gpt-standin:echo", messages=SAY, stream=True)
    assert len([chunk async for chunk in stream]) == 30


async def test_responses_whole_and_streamed_are_equal(gpt):
    whole = await gpt.responses.create(model="gpt-standin:say", input=SAY[0]["content"])
    assert whole.output_text == SAY[0]["content"]
    async with gpt.responses.stream(model="gpt-standin:say", input=SAY[0]["content"]) as stream:
        numbers = [event.sequence_number async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == whole.output_text
    assert numbers == sorted(set(numbers))
    assert final.usage == whole.usage


async def test_responses_proposes_calls_whole_and_in_fragments(gpt):
    given = [{"role": "user", "content": json.dumps(CALLS)}]
    whole = await gpt.responses.create(model="gpt-standin:call", input=given)
    expected = [(call["name"], call["arguments"]) for call in CALLS]
    assert [(i.name, json.loads(i.arguments)) for i in whole.output] == expected
    async with gpt.responses.stream(model="gpt-standin:call", input=given) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert [(i.name, json.loads(i.arguments)) for i in final.output] == expected
    assert kinds.count("response.function_call_arguments.delta") > len(CALLS)


async def test_embeddings_are_the_same_as_floats_and_packed(gpt):
    asked = {"model": "text-embedding-standin", "input": ["one", "two"]}
    floats = await gpt.embeddings.create(**asked, encoding_format="float")
    packed = await gpt.embeddings.with_raw_response.create(**asked, encoding_format="base64")
    first = json.loads(packed.content)["data"][0]["embedding"]
    assert struct.unpack("<8f", base64.b64decode(first)) == pytest.approx(floats.data[0].embedding)
    assert floats.data[0].embedding != floats.data[1].embedding
    wide = await gpt.embeddings.create(**asked, dimensions=32)
    assert [len(row.embedding) for row in wide.data] == [32, 32]


async def test_both_clients_list_models_of_their_own(gpt, claude):
    assert "gpt-standin" in [m.id async for m in gpt.models.list()]
    assert "claude-standin" in [m.id async for m in claude.models.list()]


async def test_messages_whole_and_streamed_are_equal(claude):
    asked = {"model": "claude-standin:say", "max_tokens": 100, "messages": SAY}
    whole = await claude.messages.create(**asked)
    assert whole.content[0].text == SAY[0]["content"]
    async with claude.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.stop_reason == "end_turn"


async def test_messages_proposes_calls_whole_and_in_fragments(claude):
    asked = {"model": "claude-standin:call", "max_tokens": 100, "messages": CALL}
    expected = [(call["name"], call["arguments"]) for call in CALLS]
    whole = await claude.messages.create(**asked)
    assert [(block.name, block.input) for block in whole.content] == expected
    async with claude.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    assert [(block.name, block.input) for block in final.content] == expected
    assert final.stop_reason == "tool_use"


async def test_messages_counts_tokens(claude):
    counted = await claude.messages.count_tokens(model="claude-standin", messages=SAY)
    assert counted.input_tokens > 5


async def test_nobody_is_served_without_the_credential(model, model_url):
    async with openai.AsyncOpenAI(
        base_url=f"{model_url}/v1", api_key="another", max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    async with anthropic.AsyncAnthropic(
        base_url=model_url, api_key="another", max_retries=0
    ) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model="claude-standin", max_tokens=9, messages=SAY)
    assert not model.seen


async def test_it_refuses_to_start_without_a_credential():
    with pytest.raises(ValueError, match="credential"):
        StandinModel(credential="")
