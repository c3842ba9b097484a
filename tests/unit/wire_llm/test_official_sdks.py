"""The official SDKs are the measure: what they can send is known, what we refuse they raise."""

import types
import typing
from collections.abc import Iterable, Mapping

import anthropic
import httpx2
import openai
import pydantic
import pytest
import typing_extensions as te
from anthropic.types import (
    ContentBlock,
    message_count_tokens_params,
    message_create_params,
)
from anthropic.types.beta import message_count_tokens_params as beta_count_tokens_params
from anthropic.types.beta import message_create_params as beta_message_create_params
from openai.types import embedding_create_params
from openai.types.chat import ChatCompletionMessage, completion_create_params
from openai.types.responses import ResponseOutputItem, response_create_params

from golden.llm.vectors import STREAMS
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.wire import SHAPES, error_body, error_frame

CHAT = ("openai", "POST", "/v1/chat/completions")
RESPONSES = ("openai", "POST", "/v1/responses")
MESSAGES = ("anthropic", "POST", "/v1/messages")
COUNT = ("anthropic", "POST", "/v1/messages/count_tokens")
# Sent as headers, not in the body.
REQUIRED = te.Required
HEADERS = {"betas", "user_profile_id", "workspace_id"}


def samples(kind, depth=0):  # noqa: PLR0911 - one per kind of type
    """Values of a type such that each field and each variant of each field occurs in one."""
    origin, args = te.get_origin(kind), te.get_args(kind)
    if origin in {te.Annotated, te.Required, te.NotRequired, typing.Annotated, typing.Required}:
        return samples(args[0], depth)
    if origin in {typing.Union, types.UnionType}:
        return [value for arg in args for value in samples(arg, depth)]
    if origin in {typing.Literal, te.Literal}:
        return list(args)
    if kind is type(None):
        return [None]
    if te.is_typeddict(kind):
        hints = te.get_type_hints(kind, include_extras=True)
        return objects(hints, depth, {n for n, h in hints.items() if te.get_origin(h) is REQUIRED})
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        fields = kind.model_fields.items()
        return objects({f.alias or n: f.annotation for n, f in fields}, depth, None)
    if origin is not None and issubclass(origin, Mapping | dict):
        return [{"key": value} for value in samples(args[1], depth)]
    if origin is not None and (issubclass(origin, Iterable) or "Sequence" in str(origin)):
        return [[value] for value in samples(args[0], depth)]
    plain = {
        str: ["x"],
        int: [1],
        float: [0.5],
        bool: [True, False],
        object: [{}],
        typing.Any: [{}],
    }
    return plain.get(kind, [])


def objects(hints, depth, required):
    if depth > 12:
        return []
    fields = {
        name: values
        for name, hint in hints.items()
        if name not in HEADERS and (values := samples(hint, depth + 1))
    }
    first = {name: values[0] for name, values in fields.items()}
    rest = [{**first, name: v} for name, values in fields.items() for v in values[1:]]
    least = [] if required is None else [{n: v for n, v in first.items() if n in required}]
    return [first, *least, *rest]


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        (CHAT, completion_create_params.CompletionCreateParamsNonStreaming),
        (CHAT, completion_create_params.CompletionCreateParamsStreaming),
        (RESPONSES, response_create_params.ResponseCreateParamsNonStreaming),
        (RESPONSES, response_create_params.ResponseCreateParamsStreaming),
        (("openai", "POST", "/v1/embeddings"), embedding_create_params.EmbeddingCreateParams),
        (MESSAGES, message_create_params.MessageCreateParamsNonStreaming),
        (MESSAGES, message_create_params.MessageCreateParamsStreaming),
        (MESSAGES, beta_message_create_params.MessageCreateParamsStreaming),
        (COUNT, message_count_tokens_params.MessageCountTokensParams),
        (COUNT, beta_count_tokens_params.MessageCountTokensParams),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else value[2],
)
def test_no_field_of_the_sdk_is_refused_as_unknown(operation, params):
    refused = {}
    for sample in samples(params):
        try:
            SHAPES[operation].request(sample)
        except Problem as problem:
            refused.setdefault(f"{problem.code} {problem.detail}", sample)
    # The one thing the gate asks beyond the SDK: policy must know the model.
    refused.pop("PC1020 model: missing", None)
    assert not refused, "\n".join(refused)


@pytest.mark.parametrize(
    ("operation", "answer", "request_of"),
    [
        (CHAT, ChatCompletionMessage, lambda v: {"model": "m", "messages": [v]}),
        (RESPONSES, ResponseOutputItem, lambda v: {"model": "m", "input": [v]}),
        (
            MESSAGES,
            ContentBlock,
            lambda v: {
                "model": "m",
                "max_tokens": 1,
                "messages": [{"role": "assistant", "content": [v]}],
            },
        ),
    ],
    ids=["chat", "responses", "messages"],
)
def test_an_agent_may_send_back_the_answer_that_it_was_given(operation, answer, request_of):
    refused = {}
    for sample in samples(answer):
        try:
            SHAPES[operation].request(request_of(sample))
        except Problem as problem:
            refused.setdefault(f"{problem.code} {problem.detail}", sample)
    assert not refused, "\n".join(refused)


def client_of(api, status, content, kind):
    def answer(request):
        return httpx2.Response(status, content=content, headers={"content-type": kind})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    make = openai.OpenAI if api == "openai" else anthropic.Anthropic
    return make(api_key="none", base_url="http://gate.test/v1", http_client=http, max_retries=0)


def ask(api, client, *, stream):
    if api == "openai":
        return client.chat.completions.create(model="m", messages=[], stream=stream)
    return client.messages.create(model="m", max_tokens=1, messages=[], stream=stream)


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("code", ["PC1020", "PC2001", "PC3001", "PC1010", "PC5003", "PC4002"])
def test_a_refusal_reaches_the_agent_as_its_sdks_own_exception(api, code):
    problem = Problem(code, "tools: not for you")
    sdk = openai if api == "openai" else anthropic
    client = client_of(api, problem.status, error_body(api, problem), "application/json")
    with pytest.raises(sdk.APIStatusError) as raised:
        ask(api, client, stream=False)
    assert raised.value.status_code == CODES[code].status
    assert "tools: not for you" in str(raised.value)
    body = raised.value.body
    error = body if api == "openai" else body["error"]
    assert error["hint"] == CODES[code].hint
    found = raised.value.code if api == "openai" else raised.value.error_code
    assert found == code


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_refusal_in_mid_stream_is_raised_by_the_sdk_and_not_read_as_content(api):
    frame = error_frame(api, Problem("PC4001", "cut off"))
    with pytest.raises((openai.APIError, anthropic.APIError), match="cut off"):
        list(ask(api, client_of(api, 200, frame, "text/event-stream"), stream=True))


def test_a_refusal_in_a_responses_stream_is_raised_by_the_sdk():
    frame = error_frame("openai", Problem("PC4001", "cut off"))
    client = client_of("openai", 200, frame, "text/event-stream")
    with pytest.raises(openai.APIError, match="cut off"):
        list(client.responses.create(model="m", input="x", stream=True))


def forwarded(name):
    vector = next(v for v in STREAMS if v.name == name)
    client = client_of(vector.shape.api, 200, vector.forwarded, "text/event-stream")
    return client, vector.data["result"]["proposals"]


def test_the_sdk_reads_a_forwarded_chat_stream_with_its_tool_calls():
    client, proposals = forwarded("chat")
    with client.chat.completions.stream(model="m", messages=[]) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.content == "Let me löok 日本."
    calls = [[c.id, c.function.name, c.function.arguments] for c in message.tool_calls]
    assert calls == proposals


def test_the_sdk_reads_a_forwarded_responses_stream_with_its_tool_calls():
    client, proposals = forwarded("responses")
    with client.responses.stream(model="m", input="x") as stream:
        response = stream.get_final_response()
    assert response.output_text == "One moment. 日本"
    function = next(item for item in response.output if item.type == "function_call")
    assert [function.call_id, function.name, function.arguments] == proposals[0]
    assert response.usage.total_tokens == 30


def test_the_sdk_reads_a_forwarded_messages_stream_with_its_tool_calls():
    client, proposals = forwarded("messages")
    with client.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
        message = stream.get_final_message()
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [[c.id, c.name] for c in calls] == [p[:2] for p in proposals]
    assert calls[0].input == {"customer_id": "C-1001"}
    assert (message.stop_reason, message.usage.output_tokens) == ("tool_use", 9)
