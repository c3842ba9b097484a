"""The answer of ``POST /v1/messages``: its shape, and its stream of typed events.

``message_start``, then blocks one after another (``content_block_start``, deltas, ``_stop``), then
``message_delta`` with the stop reason and the output's tokens, then ``message_stop``. A tool_use
block is held from its start to its stop.
"""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import ToolProposal, Usage
from portcullis.core.errors import Problem
from portcullis.wire.anthropic_fields import SERVER_TOOL_USE, TRACE_FEATURES
from portcullis.wire.anthropic_slots import message_slots
from portcullis.wire.fields import (
    LOOSE,
    OPEN,
    Check,
    Fields,
    anything,
    count,
    fit_result,
    integer,
    items,
    mapping,
    need,
    one_of,
    record,
    string,
    tagged,
)
from portcullis.wire.json import encode
from portcullis.wire.model import (
    EventStream,
    Frame,
    ModelRequest,
    event_data,
    frame,
    only_failure,
    proposal,
)
from portcullis.wire.slots import Slots, failure
from portcullis.wire.sse import ServerSentEvent

_BLOCK: Final = tagged(
    "type",
    {
        "text": {"text": need(string), "citations": items(anything), **OPEN},
        "thinking": {"thinking": need(string), "signature": string, **OPEN},
        "redacted_thinking": {"data": need(string), **OPEN},
        "tool_use": {
            "id": need(string),
            "name": need(string),
            "input": need(mapping),
            "caller": anything,
            **OPEN,
        },
        "server_tool_use": {**SERVER_TOOL_USE, **OPEN},
        **dict.fromkeys(TRACE_FEATURES, LOOSE),
    },
    features=TRACE_FEATURES,
)
_COUNTS: Final = record(
    {
        "input_tokens": count,
        "output_tokens": count,
        "cache_creation_input_tokens": count,
        "cache_read_input_tokens": count,
        **LOOSE,
    }
)
MESSAGE: Final[Check] = record(
    {
        "type": need(one_of("message")),
        "role": need(one_of("assistant")),
        "content": need(items(_BLOCK)),
        "stop_reason": string,
        "usage": _COUNTS,
        **LOOSE,
    }
)
_DELTAS: Final[dict[str, tuple[str, Fields]]] = {
    "text_delta": ("text", {"text": need(string)}),
    "citations_delta": ("text", {"citation": need(mapping)}),
    "thinking_delta": ("thinking", {"thinking": need(string)}),
    "signature_delta": ("thinking", {"signature": need(string)}),
    "input_json_delta": ("tool_use", {"partial_json": need(string)}),
    "compaction_delta": ("compaction", {"content": string, "encrypted_content": string}),
}
_JSON_BLOCKS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_EVENTS: Final[dict[str, Fields]] = {
    "ping": OPEN,
    "message_start": {"message": need(MESSAGE), **OPEN},
    "content_block_start": {"index": need(integer), "content_block": need(_BLOCK), **OPEN},
    "content_block_delta": {
        "index": need(integer),
        "delta": need(
            tagged("type", {kind: {**fields, **OPEN} for kind, (_, fields) in _DELTAS.items()})
        ),
        **OPEN,
    },
    "content_block_stop": {"index": need(integer), **OPEN},
    "message_delta": {
        "delta": need(record({"stop_reason": string, **LOOSE})),
        "usage": _COUNTS,
        "context_management": anything,
        **OPEN,
    },
    "message_stop": OPEN,
}
_EVENT: Final = tagged("type", _EVENTS)
_SIZES: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def tokens(counts: dict[str, Any] | None, before: Usage | None) -> Usage | None:
    """The provider's count; what it does not repeat stays as it was ``before``."""
    if not counts:
        return before
    earlier = before or Usage()
    read, written = earlier.input_tokens, counts.get("output_tokens")
    if counts.get("input_tokens") is not None:
        read = sum(counts.get(size) or 0 for size in _SIZES)
    return Usage(
        input_tokens=read,
        output_tokens=earlier.output_tokens if written is None else written,
        cached_tokens=counts.get("cache_read_input_tokens") or earlier.cached_tokens,
        stored_tokens=counts.get("cache_creation_input_tokens") or earlier.stored_tokens,
    )


def call_of(block: dict[str, Any]) -> ToolProposal:
    """The call in a complete tool_use block."""
    return proposal(block["id"], block["name"], encode(block["input"]).decode())


class MessageStream(EventStream):
    """Decodes one stream."""

    words_only = True

    def __init__(self, request: ModelRequest) -> None:
        super().__init__()
        self._features = request.features
        self._started = False
        self._next = 0
        self._block: dict[str, Any] | None = None
        self._json: list[str] = []

    def take(self, event: ServerSentEvent) -> Frame | None:
        """Understand one event."""
        if self.ended:
            raise Problem("PC5003", "the stream goes on after its end")
        data = event_data(event)
        kind = data.get("type")
        if type(kind) is not str:
            raise Problem("PC5003", "type: expected a string")
        if event.event not in {"", kind}:
            raise Problem("PC5003", "a stream event has two types")
        if kind == "error":
            self.fail()
            return frame(only_failure(data), "error")
        if kind not in _EVENTS:
            raise Problem("PC5010", "a stream event of unknown type")
        fit_result(_EVENT, data, self._features)
        if not self._started and kind not in {"message_start", "ping"}:
            raise Problem("PC5003", "the stream does not begin with message_start")
        proposals = self._step(data, kind)
        return frame(data, kind, held=bool(self.open_calls), proposals=proposals)

    def slots(self, event: dict[str, Any]) -> Slots:
        """See EventStream."""
        return failure(event) if event["type"] == "error" else message_slots(event)

    def _step(self, data: dict[str, Any], kind: str) -> tuple[ToolProposal, ...]:
        if kind == "content_block_delta":
            self._delta(data)
        elif kind == "content_block_start":
            self._begin(data)
        elif kind == "content_block_stop":
            return self._stop(data)
        elif kind == "message_start":
            if self._started or data["message"]["content"]:
                raise Problem("PC5003", "message_start: not the empty beginning of a message")
            self._started = True
            self.usage = tokens(data["message"].get("usage"), None)
        elif kind == "message_delta":
            self.usage = tokens(data.get("usage"), self.usage)
            self.finish = data["delta"].get("stop_reason") or self.finish
        elif kind == "message_stop":
            if self._block is not None:
                raise Problem("PC5003", "the stream ends within a block")
            self.ended = True
        return ()

    def _begin(self, data: dict[str, Any]) -> None:
        if self._block is not None or data["index"] != self._next:
            raise Problem("PC5003", "a block begins out of turn")
        self._block = data["content_block"]
        self._json = []
        if self._block["type"] == "tool_use":
            self.open_calls[self._next] = True

    def _delta(self, data: dict[str, Any]) -> None:
        kind = data["delta"]["type"]
        block = self._block
        if block is None or data["index"] != self._next:
            raise Problem("PC5003", "a delta outside its block")
        fits = (
            block["type"] in _JSON_BLOCKS
            if kind == "input_json_delta"
            else (block["type"] == _DELTAS[kind][0])
        )
        if not fits:
            raise Problem("PC5003", "a delta of another type than its block")
        if kind == "input_json_delta":
            self._json.append(data["delta"]["partial_json"])

    def _stop(self, data: dict[str, Any]) -> tuple[ToolProposal, ...]:
        block = self._block
        if block is None or data["index"] != self._next:
            raise Problem("PC5003", "a block ends that is not open")
        self._block = None
        self._next += 1
        if block["type"] != "tool_use":
            return ()
        self.open_calls.clear()
        text = "".join(self._json)
        if text and block["input"]:
            raise Problem("PC5003", "a tool call has its input twice")
        if text:
            return (proposal(block["id"], block["name"], text),)
        return (call_of(block),)
