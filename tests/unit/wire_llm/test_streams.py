"""Streams of the model APIs: what is held, what is proposed, what does not pass."""

import pytest

from golden.llm.vectors import STREAMS, summary
from portcullis.core.errors import Problem
from portcullis.wire.json import decode, encode
from unit.wire_llm.frames import (
    ADDED,
    BEGIN,
    FUNCTION,
    START,
    TOOL,
    call,
    chat_stream,
    code,
    completed,
    data,
    delta,
    messages_stream,
    numbered,
    responses_stream,
    typed,
)

NAMES = [vector.name for vector in STREAMS]


@pytest.mark.parametrize("vector", STREAMS, ids=NAMES)
def test_a_stream_passes_as_it_was_understood(vector):
    frames, result = vector.run([vector.stream])
    assert b"".join(frame.data for frame in frames) == vector.forwarded
    assert summary(result) == vector.data["result"]
    assert result.size == len(vector.forwarded)
    assert not result.is_error


@pytest.mark.parametrize("vector", STREAMS, ids=NAMES)
def test_a_tool_call_waits_until_it_is_whole(vector):
    frames, result = vector.run([vector.stream])
    assert "".join(str(int(frame.held)) for frame in frames) == vector.data["held"]
    proposed = [proposal for frame in frames for proposal in frame.proposals]
    assert tuple(proposed) == result.proposals
    assert not any(frame.proposals and frame.held for frame in frames)


@pytest.mark.parametrize("vector", STREAMS, ids=NAMES)
def test_a_stream_that_breaks_off_anywhere_is_not_taken_for_whole(vector):
    events = vector.stream.split(b"\n\n")[:-1]
    for count in range(len(events) - 1):
        decoder = vector.decoder()
        decoder.feed(b"".join(event + b"\n\n" for event in events[:count]))
        with pytest.raises(Problem) as raised:
            decoder.end()
        assert raised.value.code == "PC5008"


@pytest.mark.parametrize("vector", STREAMS, ids=NAMES)
def test_nothing_passes_after_the_end(vector):
    decoder = vector.decoder()
    decoder.feed(vector.stream)
    assert code(decoder, vector.stream.split(b"\n\n")[1] + b"\n\n") == "PC5003"


@pytest.mark.parametrize("vector", STREAMS, ids=NAMES)
@pytest.mark.parametrize(
    "event",
    [b"data: {\n\n", b"data: 7\n\n", b"data: \xff\n\n", b'data: {"type":"x","type":"y"}\n\n',
     b'data: {"a":"\\u0000"}\n\n', b"data: \n\n", b'data: {"type":[]}\n\n', b"data: []\n\n"],
)  # fmt: skip
def test_a_malformed_event_does_not_pass(vector, event):
    assert code(vector.decoder(), event) == "PC5003"


@pytest.mark.parametrize("make", [responses_stream, messages_stream])
def test_an_unknown_event_does_not_pass(make):
    assert code(make(), numbered({"type": "rocket.launched"})) == "PC5010"


def test_several_choices_are_held_until_the_last_call_is_whole():
    decoder = chat_stream(n=2)
    frames = decoder.feed(
        data(
            delta(0, content="a"),
            delta(1, tool_calls=[call(0, "c1", "f", '{"a":')]),
            delta(0, tool_calls=[call(0, "c0", "g", "{}")]),
            delta(1, tool_calls=[call(0, arguments="1}")]),
            delta(1, finish="tool_calls"),
            delta(0, finish="tool_calls"),
            "[DONE]",
        )
    )
    assert [frame.held for frame in frames] == [False, True, True, True, True, False, False]
    result = decoder.end()
    assert [(p.id, p.arguments) for p in result.proposals] == [("c1", '{"a":1}'), ("c0", "{}")]
    assert result.finish == "tool_calls"


def test_usage_stays_in_the_stream_of_who_asked_for_it():
    last = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    stream = data(delta(content="a"), delta(finish="stop"), last, "[DONE]")
    asked = chat_stream(stream_options={"include_usage": True})
    assert b'"prompt_tokens":3' in b"".join(frame.data for frame in asked.feed(stream))
    other = chat_stream()
    assert b"usage" not in b"".join(frame.data for frame in other.feed(stream))
    assert asked.end().usage == other.end().usage
    assert other.end().usage.output_tokens == 2


def test_the_deprecated_function_call_is_held_too():
    decoder = chat_stream()
    frames = decoder.feed(
        data(
            delta(function_call={"name": "f", "arguments": "{"}),
            delta(function_call={"arguments": "}"}),
            delta(finish="function_call"),
            "[DONE]",
        )
    )
    assert [frame.held for frame in frames] == [True, True, False, False]
    assert decoder.end().proposals[0].name == "f"


def test_a_custom_tools_call_is_held_and_proposed_as_a_json_string():
    decoder = chat_stream()
    first = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sql", "input": "a"}}
    second = {"index": 0, "custom": {"input": '"b'}}
    frames = decoder.feed(
        data(delta(tool_calls=[first]), delta(tool_calls=[second]), delta(finish="tool_calls"))
    )
    assert [frame.held for frame in frames] == [True, True, False]
    assert decode(frames[-1].proposals[0].arguments.encode()) == 'a"b'


@pytest.mark.parametrize(
    "chunks",
    [
        [delta(tool_calls=[call(0, "a", "f", "{")]), delta(finish="tool_calls")],
        [delta(tool_calls=[call(0, "a", "f", "[]")]), delta(finish="length")],
        [delta(tool_calls=[call(0, "a", "f", '{"a":1,"a":2}')]), delta(finish="tool_calls")],
        [delta(tool_calls=[call(0, "a", None, "{}")]), delta(finish="tool_calls")],
        [delta(tool_calls=[call(0, "a", "f")]), delta(tool_calls=[call(0, "b")])],
        [delta(tool_calls=[call(0, "a", "f")]), delta(tool_calls=[call(0, None, "g")])],
        [delta(tool_calls=[{"index": 0, "custom": {}, "function": {}}])],
        [delta(tool_calls=[{"index": 0, "type": "custom", "function": {"name": "f"}}])],
        [delta(tool_calls=[call(-1, "a", "f", '{"a":')]), delta(function_call={"arguments": "1}"})],
        [delta(-1, tool_calls=[call(0, "a", "f", "{}")])],
        [delta(tool_calls=[call(0, "a", "f")]), "[DONE]"],
        [delta(content="a"), "[DONE]"],
        [delta(finish="stop"), delta(content="more")],
        [delta(finish="stop"), delta(tool_calls=[call(0, "a", "f")])],
        [delta(actions=[{"run": 1}])],
        [{"choices": [{"index": 0, "message": {"tool_calls": []}}]}],
        [{"choices": [{"index": 0, "delta": {}, "messages": [1]}]}],
        [{"object": "rocket"}],
        [delta(at) for at in range(129)],
    ],
    ids=str,
)
def test_a_chat_stream_that_could_be_read_in_two_ways_does_not_pass(chunks):
    assert code(chat_stream(), data(*chunks)) == "PC5003"


FRAGMENT = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"}
DONE = {
    "type": "response.output_item.done",
    "output_index": 0,
    "item": {**FUNCTION, "arguments": "{}"},
}


@pytest.mark.parametrize(
    "events",
    [
        [DONE],
        [FRAGMENT],
        [ADDED, ADDED],
        [ADDED, {**FRAGMENT, "delta": "{"}, {**DONE, "item": {**FUNCTION, "arguments": "{"}}],
        [ADDED, FRAGMENT, {**DONE, "item": {**FUNCTION, "arguments": '{"a":1}'}}],
        [
            ADDED,
            FRAGMENT,
            {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": ""},
        ],
        [ADDED, FRAGMENT, completed()],
        [ADDED, FRAGMENT, DONE, completed()],
        [ADDED, FRAGMENT, DONE, completed({**FUNCTION, "arguments": '{"a":1}'})],
        [completed({**FUNCTION, "arguments": "{}"})],
        [completed({**FUNCTION, "arguments": "{}"}, kind="response.created")],
        [completed({**FUNCTION, "arguments": "{}"}, kind="response.incomplete")],
        [{"type": "response.output_item.added"}],
        [{**ADDED, "item": {"type": "rocket"}}],
        [{**ADDED, "item": {"type": "mcp_call"}}],
        [{"type": "response.mcp_call.completed"}],
        [{"type": "response.output_text.delta", "delta": "x", "actions": [1]}],
        [{"type": "response.content_part.added", "part": {"type": "rocket"}}],
        [{**FRAGMENT, "delta": 7}],
    ],
    ids=str,
)
def test_a_responses_stream_that_contradicts_itself_does_not_pass(events):
    assert code(responses_stream(), numbered(*events)) == "PC5003"


def test_a_responses_stream_numbers_its_events_upwards():
    event = {"type": "response.output_text.delta", "delta": "x", "sequence_number": 3}
    assert code(responses_stream(), typed(event, event)) == "PC5003"
    assert code(responses_stream(), typed({"type": "response.in_progress"})) == "PC5003"


@pytest.mark.parametrize("make", [responses_stream, messages_stream])
def test_an_event_whose_two_types_differ_does_not_pass(make):
    kind = "response.queued" if make is responses_stream else "ping"
    event = encode({"type": kind, "sequence_number": 0, "response": {"output": []}})
    assert code(make(), b"event: other\ndata: " + event + b"\n\n") == "PC5003"


def test_a_hosted_tools_events_pass_when_it_was_asked_for():
    search = {"type": "web_search_call", "id": "w"}
    decoder = responses_stream(tools=[{"type": "web_search"}])
    frames = decoder.feed(
        numbered(
            {**ADDED, "item": search},
            {"type": "response.web_search_call.searching", "output_index": 0},
            {**DONE, "item": search},
            completed(search),
        )
    )
    assert len(frames) == 4
    assert decoder.end().finish == "completed"


INPUT = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "input_json_delta", "partial_json": "{}"},
}
STOP = {"type": "content_block_stop", "index": 0}
END = {"type": "message_stop"}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}


@pytest.mark.parametrize(
    "events",
    [
        [BEGIN],
        [START, START],
        [{**START, "message": {**START["message"], "content": [TOOL]}}],
        [START, {**BEGIN, "index": 1}],
        [START, BEGIN, {**BEGIN, "index": 1}],
        [START, INPUT],
        [START, BEGIN, {**INPUT, "index": 1}],
        [START, STOP],
        [START, TEXT, INPUT],
        [START, BEGIN, {**INPUT, "delta": {"type": "text_delta", "text": "x"}}],
        [START, BEGIN, {**INPUT, "delta": {"type": "rocket"}}],
        [START, BEGIN, {**INPUT, "delta": {"type": "input_json_delta", "partial_json": "{"}}, STOP],
        [START, {**BEGIN, "content_block": {**TOOL, "input": {"a": 1}}}, INPUT, STOP],
        [START, BEGIN, END],
        [START, {**BEGIN, "content_block": {"type": "rocket"}}],
        [START, {**BEGIN, "content_block": {"type": "mcp_tool_use", "name": "x"}}],
        [{"type": "ping", "payload": {"a": 1}}],
    ],
    ids=str,
)
def test_a_messages_stream_that_contradicts_itself_does_not_pass(events):
    assert code(messages_stream(), typed(*events)) == "PC5003"


def test_a_tools_input_may_come_whole_with_its_block():
    decoder = messages_stream()
    block = {**BEGIN, "content_block": {**TOOL, "input": {"a": 1}}}
    frames = decoder.feed(typed(START, block, STOP, END))
    assert [frame.held for frame in frames] == [False, True, False, False]
    assert decoder.end().proposals[0].arguments == '{"a":1}'


def test_a_call_that_ends_as_another_than_it_began_does_not_pass():
    whole = {**FUNCTION, "arguments": "{}"}
    for other in ({"name": "g"}, {"call_id": "d"}):
        begun = {"type": "response.output_item.added", "output_index": 0, "item": whole}
        ended = {"type": "response.output_item.done", "output_index": 0, "item": whole | other}
        assert code(responses_stream(), numbered(begun, ended)) == "PC5003"


@pytest.mark.parametrize("tokens", [-1, 2**63 - 1])
def test_a_count_of_tokens_that_is_no_count_does_not_pass(tokens):
    assert code(chat_stream(), data(delta() | {"usage": {"prompt_tokens": tokens}})) == "PC5003"
    start = {**START, "message": {**START["message"], "usage": {"input_tokens": tokens}}}
    assert code(messages_stream(), typed(start)) == "PC5003"
