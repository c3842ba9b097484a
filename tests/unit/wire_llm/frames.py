"""Streams of the three APIs, by the event."""

import pytest

from portcullis.core.errors import Problem
from portcullis.wire import SHAPES
from portcullis.wire.json import encode

CHAT = SHAPES["openai", "POST", "/v1/chat/completions"]
RESPONSES = SHAPES["openai", "POST", "/v1/responses"]
MESSAGES = SHAPES["anthropic", "POST", "/v1/messages"]


def data(*chunks):
    return b"".join(
        b"data: " + (chunk.encode() if isinstance(chunk, str) else encode(chunk)) + b"\n\n"
        for chunk in chunks
    )


def typed(*events):
    return b"".join(
        b"event: " + event["type"].encode() + b"\ndata: " + encode(event) + b"\n\n"
        for event in events
    )


def chat_stream(**fields):
    payload = {"model": "m", "messages": [], "stream": True, **fields}
    return CHAT.stream(CHAT.request(payload))


def delta(index=0, finish=None, **fields):
    return {"choices": [{"index": index, "delta": fields, "finish_reason": finish}]}


def call(index=0, call_id=None, name=None, arguments=""):
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": call_id} if call_id else {})


def responses_stream(**fields):
    payload = {"model": "m", "input": "x", "stream": True, **fields}
    return RESPONSES.stream(RESPONSES.request(payload))


def numbered(*events):
    return typed(*({**event, "sequence_number": at} for at, event in enumerate(events)))


def messages_stream(**fields):
    payload = {"model": "m", "max_tokens": 1, "messages": [], "stream": True, **fields}
    return MESSAGES.stream(MESSAGES.request(payload))


START = {
    "type": "message_start",
    "message": {"type": "message", "role": "assistant", "content": []},
}
FUNCTION = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
TOOL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


def code(decoder, stream):
    with pytest.raises(Problem) as raised:
        decoder.feed(stream)
    return raised.value.code


ADDED = {"type": "response.output_item.added", "output_index": 0, "item": FUNCTION}


def completed(*items, kind="response.completed"):
    return {"type": kind, "response": {"output": list(items)}}


BEGIN = {"type": "content_block_start", "index": 0, "content_block": TOOL}
