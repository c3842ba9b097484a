"""If these fail, an error in a stream takes something past the checks, or gets lost."""

import pytest

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


def test_a_failed_response_ends_its_stream_as_an_error():
    decoder = responses_stream()
    decoder.feed(numbered(completed(kind="response.failed")))
    assert decoder.end().is_error


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (chat_stream, data({"error": {"message": "overloaded", "type": "server_error"}})),
        (
            responses_stream,
            typed({"type": "error", "code": "x", "message": "overloaded", "sequence_number": 9}),
        ),
        (messages_stream, typed({"type": "error", "error": {"message": "overloaded"}})),
    ],
    ids=["chat", "responses", "messages"],
)
def test_the_providers_own_error_passes_and_ends_the_stream(make, error):
    decoder = make()
    (frame,) = decoder.feed(error)
    assert b"overloaded" in frame.data
    assert not frame.held
    assert decoder.end().is_error


@pytest.mark.parametrize(
    ("make", "before", "error"),
    [
        (chat_stream, data(delta(tool_calls=[call(0, "a", "f")])), data({"error": {"m": 1}})),
        (responses_stream, numbered(ADDED), typed({"type": "error", "sequence_number": 9})),
        (messages_stream, typed(START, BEGIN), typed({"type": "error", "error": {}})),
    ],
    ids=["chat", "responses", "messages"],
)
def test_an_error_within_a_tool_call_does_not_release_the_half_of_it(make, before, error):
    decoder = make()
    assert decoder.feed(before)[-1].held
    assert code(decoder, error) == "PC5008"


def test_a_chat_stream_may_say_done_after_its_error():
    decoder = chat_stream()
    decoder.feed(data(delta(content="a"), {"error": {"message": "overloaded"}}, "[DONE]"))
    assert decoder.end().is_error


def test_an_error_brings_no_tool_call_past_the_checks():
    half = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":1,"a":2}'}}
    chat = {"error": {"message": "x"}, **delta(tool_calls=[half], finish="tool_calls")}
    item = {"type": "response.output_item.done", "error": "x", "item": {**FUNCTION}}
    for decoder, event in (
        (chat_stream(), data(chat)),
        (responses_stream(), data(item)),
        (messages_stream(), typed({"type": "error", "error": {}, "content_block": TOOL})),
    ):
        (frame,) = decoder.feed(event)
        assert b"error" in frame.data
        for member in (b"tool_calls", b"item", b"content_block", b'"f"'):
            assert member not in frame.data.replace(b"response.output_item.done", b"")
