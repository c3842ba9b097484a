"""Requests and whole answers of the model APIs."""

import copy

import pytest

from golden.llm.vectors import FEATURES, VECTORS, summary
from portcullis.core.errors import Problem
from portcullis.wire import SHAPES, behind
from portcullis.wire.json import encode

CHAT = SHAPES["openai", "POST", "/v1/chat/completions"]
RESPONSES = SHAPES["openai", "POST", "/v1/responses"]
EMBEDDINGS = SHAPES["openai", "POST", "/v1/embeddings"]
MESSAGES = SHAPES["anthropic", "POST", "/v1/messages"]
NAMES = [vector.name for vector in VECTORS]


def chat(**fields):
    return {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}


def code_and_detail(call, *args):
    with pytest.raises(Problem) as raised:
        call(*args)
    return raised.value.code, raised.value.detail


@pytest.mark.parametrize("vector", VECTORS, ids=NAMES)
def test_what_is_forwarded_is_what_was_asked_for(vector):
    request = copy.deepcopy(vector.data["request"])
    asked = vector.shape.request(request)
    assert asked.payload == {**vector.data["request"], **vector.data["added"]}
    assert request == vector.data["request"]
    assert asked.model == request["model"]
    assert asked.stream == request.get("stream", False)
    assert asked.features == tuple(vector.data["features"])
    assert asked.tools == tuple(vector.data["tools"])


@pytest.mark.parametrize("vector", VECTORS, ids=NAMES)
def test_an_answer_is_understood(vector):
    result = vector.shape.result(vector.data["answer"], vector.asked())
    assert summary(result) == vector.data["result"]
    assert result.payload == vector.data["answer"]
    assert result.size == len(encode(vector.data["answer"]))
    assert not result.is_error


@pytest.mark.parametrize("case", FEATURES, ids=lambda case: case["feature"])
def test_what_acts_at_the_provider_is_seen_and_named(case):
    assert case["feature"] in SHAPES[tuple(case["operation"])].request(case["request"]).features


def test_shapes_name_their_own_operation():
    for (api, method, path), shape in SHAPES.items():
        assert (shape.api, shape.operation) == (api, f"{method} {path}")


def test_a_chat_stream_reports_its_usage_and_hides_it_from_who_did_not_ask():
    asked = CHAT.request(chat(stream=True, stream_options={"include_obfuscation": False}))
    assert asked.payload["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert asked.strip_usage
    kept = CHAT.request(chat(stream=True, stream_options={"include_usage": True}))
    assert not kept.strip_usage
    assert "stream_options" not in CHAT.request(chat()).payload
    assert CHAT.request(chat(stream=True, stream_options=None)).strip_usage


@pytest.mark.parametrize(
    ("payload", "code", "detail"),
    [
        (chat(plugins=[]), "PC1021", "plugins: unknown field"),
        (
            chat(messages=[{"role": "user", "content": [{"type": "text", "text": "", "kind": 1}]}]),
            "PC1021",
            "messages[0].content[0].kind: unknown field",
        ),
        (
            chat(messages=[{"role": "user", "content": [{"type": "video"}]}]),
            "PC1021",
            "messages[0].content[0].type: unknown value",
        ),
        (chat(messages=[{"role": "boss", "content": ""}]), "PC1021", "messages[0].role: unknown"),
        (chat(tools=[{"type": "rocket"}]), "PC1021", "tools[0].type: unknown value"),
        (chat(tool_choice={"type": "any"}), "PC1021", "tool_choice.type: unknown value"),
        (chat(response_format={"type": "xml"}), "PC1021", "response_format.type: unknown value"),
        (chat(model=7), "PC1020", "model: expected a string"),
        (chat(model=None), "PC1020", "model: expected a string"),
        ({"messages": []}, "PC1020", "model: missing"),
        (chat(messages={}), "PC1020", "messages: expected an array"),
        (chat(messages=["x"]), "PC1020", "messages[0]: expected an object"),
        (chat(stream="yes"), "PC1020", "stream: expected a boolean"),
        (chat(n=True), "PC1020", "n: expected an integer"),
        (chat(temperature="1"), "PC1020", "temperature: expected a number"),
        (
            chat(messages=[{"role": "tool", "tool_call_id": "x", "content": {"a": 1}}]),
            "PC1020",
            "messages[0].content: expected an array",
        ),
        (
            chat(messages=[{"role": "tool", "tool_call_id": 1, "content": ""}]),
            "PC1020",
            "messages[0].tool_call_id: expected a string",
        ),
        (chat(metadata={"a": 1}), "PC1020", "metadata.a: expected a string"),
        (
            chat(logit_bias={"1": "x"}),
            "PC1020",
            "logit_bias.(a name that is not printed): expected an integer",
        ),
        ([], "PC1020", "the body: expected an object"),
        (None, "PC1020", "the body: expected an object"),
    ],
    ids=str,
)
def test_what_a_chat_request_may_not_hold_is_refused_by_its_path(payload, code, detail):
    found, text = code_and_detail(CHAT.request, payload)
    assert found == code
    assert text.startswith(detail)


def test_a_refusal_does_not_repeat_what_was_sent():
    secret = "a b\n" * 40
    _, detail = code_and_detail(CHAT.request, chat(**{secret: 1}))
    assert detail == "(a name that is not printed): unknown field"
    _, detail = code_and_detail(CHAT.request, chat(tools=[{"type": "hunter2"}]))
    assert "hunter2" not in detail


def test_a_null_stands_for_an_absent_field_and_is_no_feature():
    request = {"model": "m", "input": "x", "previous_response_id": None, "conversation": None}
    assert RESPONSES.request(request).features == ()


@pytest.mark.parametrize("value", ["x", ["x", "y"], [1, 2], [[1], [2, 3]], []])
def test_embeddings_take_texts_and_tokens(value):
    assert EMBEDDINGS.request({"model": "m", "input": value}).payload["input"] == value


@pytest.mark.parametrize("value", [1, None, {}, ["x", 1], [[1], "x"], [["x"]], [[[1]]], [1.5]])
def test_embeddings_take_nothing_else(value):
    code, _ = code_and_detail(EMBEDDINGS.request, {"model": "m", "input": value})
    assert code == "PC1020"


def answer_of(vector_name):
    vector = next(v for v in VECTORS if v.name == vector_name)
    return vector, copy.deepcopy(vector.data["answer"])


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("chat", lambda a: a["choices"][0]["message"].update(actions=[{"run": 1}])),
        ("chat", lambda a: a["choices"][0].update(messages=[{}])),
        ("chat", lambda a: a["choices"][0]["message"]["tool_calls"][0].update(type="rocket")),
        ("chat", lambda a: a["choices"][0]["message"]["tool_calls"][0].update(extra={"a": 1})),
        ("chat", lambda a: a.pop("choices")),
        ("responses", lambda a: a["output"].append({"type": "rocket"})),
        ("responses", lambda a: a["output"].append({"type": "mcp_call", "name": "x"})),
        ("responses", lambda a: a["output"][1]["content"].append({"type": "rocket"})),
        ("responses", lambda a: a["output"][1].update(more=[1])),
        ("messages", lambda a: a["content"].append({"type": "rocket"})),
        ("messages", lambda a: a["content"].append({"type": "mcp_tool_use", "name": "x"})),
        ("messages", lambda a: a["content"][2].update(input="{}")),
        ("messages", lambda a: a.update(type="error")),
        ("embeddings", lambda a: a.pop("data")),
        ("count_tokens", lambda a: a.update(input_tokens="21")),
    ],
)
def test_an_answer_with_unknown_content_does_not_pass(name, spoil):
    vector, answer = answer_of(name)
    spoil(answer)
    code, _ = code_and_detail(vector.shape.result, answer, vector.asked())
    assert code == "PC5003"


def test_unknown_metadata_in_an_answer_passes_as_it_came():
    vector, answer = answer_of("chat")
    answer["x_provider"] = {"queue": 1}
    answer["choices"][0]["message"]["reasoning_content"] = "hm"
    assert vector.shape.result(answer, vector.asked()).payload == answer


@pytest.mark.parametrize(
    "arguments", ["{", "[]", "null", '{"a":1,"a":2}', '{"a":"\\u0000"}', '{"a":1}{}', '{"a":NaN}']
)
def test_a_tool_call_that_two_parsers_could_read_differently_does_not_pass(arguments):
    for name in ("chat", "responses"):
        vector, answer = answer_of(name)
        if name == "chat":
            answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = arguments
        else:
            answer["output"][2]["arguments"] = arguments
        code, detail = code_and_detail(vector.shape.result, answer, vector.asked())
        assert code == "PC5003"
        assert arguments not in detail


def test_a_deprecated_function_call_is_a_proposal_too():
    vector, answer = answer_of("chat")
    message = answer["choices"][0]["message"]
    del message["tool_calls"]
    message["function_call"] = {"name": "send_email", "arguments": '{"to":"x"}'}
    result = vector.shape.result(answer, vector.asked())
    assert [p.name for p in result.proposals] == ["send_email"]


def test_a_failed_response_counts_as_an_error():
    asked = RESPONSES.request({"model": "m", "input": "x"})
    answer = {"status": "failed", "output": [], "error": {"code": "server_error"}}
    assert RESPONSES.result(answer, asked).is_error


def test_what_a_hosted_tool_did_passes_when_it_was_asked_for():
    asked = RESPONSES.request({"model": "m", "input": "x", "tools": [{"type": "web_search"}]})
    answer = {"output": [{"type": "web_search_call", "id": "ws", "action": {"type": "search"}}]}
    assert RESPONSES.result(answer, asked).payload == answer
    tool = {"type": "web_search_20250305", "name": "web_search"}
    asked = MESSAGES.request({"model": "m", "max_tokens": 1, "messages": [], "tools": [tool]})
    use = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    answer = {"type": "message", "role": "assistant", "content": [use]}
    assert MESSAGES.result(answer, asked).payload == answer
    code, _ = code_and_detail(
        MESSAGES.result,
        {**answer, "content": [{**use, "name": "code_execution"}]},
        asked,
    )
    assert code == "PC5003"


@pytest.mark.parametrize(
    "shape", [EMBEDDINGS, SHAPES["anthropic", "POST", "/v1/messages/count_tokens"]]
)
def test_an_operation_without_streams_refuses_one(shape):
    code, _ = code_and_detail(shape.request, {"model": "m", "input": "", "stream": True})
    assert code == "PC1021"


@pytest.mark.parametrize(
    ("api", "path"),
    [
        ("openai", "/v1/batches"),
        ("openai", "/v1/files/file-1/content"),
        ("openai", "/v1/responses/resp_1"),
        ("openai", "/v1/chat/completions/chatcmpl-1"),
        ("openai", "/v1/threads/t/runs"),
        ("openai", "/v1/vector_stores"),
        ("openai", "/v1/realtime/calls"),
        ("openai", "/v1/conversations/c/items"),
        ("anthropic", "/v1/messages/batches"),
        ("anthropic", "/v1/messages/batches/b/results"),
        ("anthropic", "/v1/files"),
        ("anthropic", "/v1/sessions/s/events"),
    ],
)
def test_what_acts_behind_the_gate_is_known_by_name(api, path):
    assert behind(api, path)


@pytest.mark.parametrize(
    ("api", "path"),
    [("openai", "/v1/filesystem"), ("openai", "/v2/files"), ("anthropic", "/v1/batches"),
     ("other", "/v1/files"), ("openai", "/v1/rockets")],
)  # fmt: skip
def test_what_nobody_knows_is_not_taken_for_something_known(api, path):
    assert not behind(api, path)


@pytest.mark.parametrize(
    "model", ["gpt-4o-search-preview", "gpt-4o-mini-search-preview-2025-03-11", "gpt-5-search-api",
              "GPT-5-Search-API", "x/gpt-5:online"],
)  # fmt: skip
def test_a_model_that_searches_by_itself_is_the_search_feature(model):
    assert CHAT.request(chat(model=model)).features == ("openai.web_search",)
    asked = RESPONSES.request({"model": model, "input": "x"})
    assert asked.features == ("openai.web_search",)
    assert CHAT.request(chat(model="gpt-4o-research")).features == ()
