"""The answer of ``POST /v1/responses``, whole and as a stream of typed events.

A function call is held from the event that adds its item to the one that says it is done, and
the final response must hold the calls that were streamed. Items of hosted tools pass only when
the request asked for the feature.
"""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import Result, ToolProposal
from portcullis.core.errors import Problem
from portcullis.wire.fields import (
    LOOSE,
    OPEN,
    Check,
    anything,
    count,
    fit_result,
    integer,
    items,
    need,
    record,
    string,
    tagged,
)
from portcullis.wire.json import encode
from portcullis.wire.model import (
    DONE,
    EventStream,
    Frame,
    ModelRequest,
    event_data,
    frame,
    free_proposal,
    only_failure,
    proposal,
)
from portcullis.wire.openai_fields import USAGE, usage
from portcullis.wire.openai_responses_items import TRACE_FEATURES
from portcullis.wire.openai_responses_slots import response_slots
from portcullis.wire.slots import Slots, failure
from portcullis.wire.sse import ServerSentEvent
from portcullis.wire.sse import encode as event_bytes

_PART: Final = tagged(
    "type",
    {
        "output_text": {
            "text": need(string),
            "annotations": items(anything),
            "logprobs": items(anything),
            **OPEN,
        },
        "refusal": {"refusal": need(string), **OPEN},
        "reasoning_text": {"text": need(string), **OPEN},
        "summary_text": {"text": need(string), **OPEN},
    },
)
_ITEM: Final = tagged(
    "type",
    {
        "message": {"role": need(string), "content": need(items(_PART)), **OPEN},
        "reasoning": {"summary": items(_PART), "content": items(_PART), **OPEN},
        "function_call": {
            "arguments": need(string),
            "call_id": need(string),
            "name": need(string),
            "caller": anything,
            **OPEN,
        },
        "custom_tool_call": {
            "input": need(string),
            "call_id": need(string),
            "name": need(string),
            "caller": anything,
            **OPEN,
        },
        **dict.fromkeys(TRACE_FEATURES, LOOSE),
    },
    features=TRACE_FEATURES,
)
_RESPONSE: Final[Check] = record(
    {"output": need(items(_ITEM)), "usage": USAGE, "status": string, **LOOSE}
)
_EVENT: Final = record(
    {
        "type": need(string),
        "sequence_number": need(integer),
        "output_index": count,
        "item": _ITEM,
        "part": _PART,
        "response": _RESPONSE,
        "arguments": string,
        "input": string,
        "delta": anything,
        "annotation": anything,
        "logprobs": items(anything),
        "output": anything,
        **OPEN,
    }
)
_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
_FRAGMENTS: Final = {
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
}
_BEGIN: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_LAST: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_OF_PARTS: Final = frozenset(
    f"response.{of}_part.{step}"
    for of in ("content", "reasoning_summary")
    for step in ("added", "done")
)
_PASS: Final[dict[str, str | None]] = {
    **dict.fromkeys(
        (
            "response.content_part.added",
            "response.content_part.done",
            "response.output_text.delta",
            "response.output_text.done",
            "response.output_text.annotation.added",
            "response.refusal.delta",
            "response.refusal.done",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_part.done",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.audio.delta",
            "response.audio.done",
            "response.audio.transcript.delta",
            "response.audio.transcript.done",
        )
    ),
    **{
        f"response.{tool}.{step}": feature
        for tool, feature, steps in (
            ("code_interpreter_call", "openai.code_interpreter", "in_progress interpreting"),
            ("code_interpreter_call", "openai.code_interpreter", "completed"),
            ("code_interpreter_call_code", "openai.code_interpreter", "delta done"),
            ("compaction", "openai.compaction", "compacting"),
            ("file_search_call", "openai.file_search", "in_progress searching completed"),
            ("image_generation_call", "openai.image_generation", "in_progress generating"),
            ("image_generation_call", "openai.image_generation", "partial_image completed"),
            ("mcp_call", "openai.mcp", "in_progress completed failed"),
            ("mcp_call_arguments", "openai.mcp", "delta done"),
            ("mcp_list_tools", "openai.mcp", "in_progress completed failed"),
            ("shell_call_command", "openai.shell", "added delta done"),
            ("shell_call_output_content", "openai.shell", "delta done"),
            ("web_search_call", "openai.web_search", "in_progress searching completed"),
        )
        for step in steps.split()
    },
}
"""Events that pass as they are, with the feature that they belong to."""


def response_result(payload: Any, request: ModelRequest) -> Result:
    """Understand a whole response, or raise Problem PC5003."""
    fit_result(_RESPONSE, payload, request.features)
    payload = _own(payload, request)
    return Result(
        payload=payload,
        size=len(encode(payload)),
        is_error=payload.get("status") == "failed",
        usage=usage(payload.get("usage"), "input_tokens", "output_tokens"),
        finish=payload.get("status"),
        proposals=_calls(payload["output"]),
    )


def _own(response: Any, request: ModelRequest) -> Any:
    """A response that repeats our instructions, with those that the caller gave in their place."""
    if request.sent is None or type(response) is not dict or not response.get("instructions"):
        return response
    if response["instructions"] != request.sent.get("instructions"):
        return response
    return response | {"instructions": request.payload.get("instructions")}


class ResponseStream(EventStream):
    """Decodes one stream."""

    def __init__(self, request: ModelRequest) -> None:
        super().__init__()
        self._request = request
        self._features = request.features
        self._sequence = -1
        self._streamed: set[ToolProposal] = set()
        self._begun: dict[int, tuple[str, str, str]] = {}

    def take(self, event: ServerSentEvent) -> Frame | None:
        """Understand one event."""
        if event.data == DONE and self.ended:
            return Frame(data=event_bytes(DONE.encode()))
        if self.ended:
            raise Problem("PC5003", "the stream goes on after its end")
        data = event_data(event)
        kind = data.get("type")
        if kind == "error" or data.get("error"):
            self.fail()
            return frame(only_failure(data), "error")
        fit_result(_EVENT, data, self._features)
        if event.event not in {"", kind}:
            raise Problem("PC5003", "a stream event has two types")
        if data["sequence_number"] <= self._sequence:
            raise Problem("PC5003", "sequence_number does not rise")
        self._sequence = data["sequence_number"]
        proposals = self._step(data, data["type"])
        self._streamed.update(proposals)
        if "response" in data:
            data["response"] = _own(data["response"], self._request)
        return frame(data, data["type"], held=bool(self.open_calls), proposals=proposals)

    def slots(self, event: dict[str, Any]) -> Slots:
        """See EventStream."""
        if event.get("type") == "error" or event.get("error"):
            return failure(event)
        return response_slots(event)

    def _step(self, data: dict[str, Any], kind: str) -> tuple[ToolProposal, ...]:
        if kind in _PASS:
            if kind in _OF_PARTS:
                _member(data, "part")
            feature = _PASS[kind]
            if feature is not None and feature not in self._features:
                raise Problem("PC5003", f"the answer uses {feature}, which was not asked for")
        elif kind == "response.output_item.added":
            item = _member(data, "item")
            if item["type"] in _CALLS:
                self._open(data, item)
        elif kind == "response.output_item.done":
            item = _member(data, "item")
            if item["type"] in _CALLS:
                return self._close(data, item)
        elif kind in _BEGIN or kind in _LAST:
            self._response(_member(data, "response"), kind)
        elif (name := _FRAGMENTS.get(kind.rpartition(".")[0])) is not None:
            self._fragment(data, name, kind)
        else:
            raise Problem("PC5010", "a stream event of unknown type")
        return ()

    def _open(self, data: dict[str, Any], item: dict[str, Any]) -> None:
        at = data.get("output_index")
        if at is None or at in self.open_calls:
            raise Problem("PC5003", "a tool call begins where another is open")
        self.open_calls[at] = [item[_CALLS[item["type"]]]]
        self._begun[at] = _identity(item)

    def _fragment(self, data: dict[str, Any], name: str, kind: str) -> None:
        pieces = self.open_calls.get(data.get("output_index"))
        if pieces is None:
            raise Problem("PC5003", "a fragment of a tool call that is not open")
        if kind.endswith(".delta"):
            if type(data.get("delta")) is not str:
                raise Problem("PC5003", "delta: expected a string")
            pieces.append(data["delta"])
        elif not kind.endswith(".done"):
            raise Problem("PC5010", "a stream event of unknown type")
        elif data.get(name) != "".join(pieces):
            raise Problem("PC5003", "a tool call is not what was streamed")

    def _close(self, data: dict[str, Any], item: dict[str, Any]) -> tuple[ToolProposal, ...]:
        at = data.get("output_index", -1)
        pieces = self.open_calls.pop(at, None)
        if (
            pieces is None
            or self._begun.pop(at) != _identity(item)
            or "".join(pieces) != item[_CALLS[item["type"]]]
        ):
            raise Problem("PC5003", "a tool call is not what was streamed")
        return _calls([item])

    def _response(self, response: dict[str, Any], kind: str) -> None:
        calls = _calls(response["output"])
        if not self._streamed.issuperset(calls):
            raise Problem("PC5003", "the response holds a tool call that was not streamed")
        if kind in _BEGIN:
            return
        if self.open_calls:
            raise Problem("PC5003", "the stream ends within a tool call")
        if kind == "response.completed" and not self._streamed.issubset(calls):
            raise Problem("PC5003", "the response lacks a tool call that was streamed")
        self.ended = True
        self.failed = kind == "response.failed"
        self.finish = kind.rpartition(".")[2]
        self.usage = usage(response.get("usage"), "input_tokens", "output_tokens")


def _identity(item: dict[str, Any]) -> tuple[str, str, str]:
    """What a call is from its beginning: clients read it from the first event or the last."""
    return item["type"], item["call_id"], item["name"]


def _member(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    if value is None:
        raise Problem("PC5003", f"{name}: missing")
    member: dict[str, Any] = value
    return member


def _calls(output: list[dict[str, Any]]) -> tuple[ToolProposal, ...]:
    found = []
    for item in output:
        if item["type"] == "function_call":
            found.append(proposal(item["call_id"], item["name"], item["arguments"]))
        elif item["type"] == "custom_tool_call":
            found.append(free_proposal(item["call_id"], item["name"], item["input"]))
    return tuple(found)
