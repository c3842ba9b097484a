"""``POST /v1/messages`` and ``POST /v1/messages/count_tokens``: requests and whole answers.

The fields of betas are known too: they act only with an ``anthropic-beta`` header, and those that
act are features. ``input_tokens`` in our Usage is all that was read, cached or not.
"""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import Result, Usage
from portcullis.core.errors import Problem
from portcullis.wire.anthropic_fields import BLOCKS, CACHE, TEXTS, TOOL, TOOL_CHOICE
from portcullis.wire.anthropic_stream import MESSAGE, MessageStream, call_of, tokens
from portcullis.wire.fields import (
    LOOSE,
    Check,
    Fields,
    anything,
    boolean,
    fit_request,
    fit_result,
    integer,
    items,
    mapping,
    marks,
    need,
    number,
    plain,
    record,
    string,
    tagged,
    text_or,
)
from portcullis.wire.json import encode
from portcullis.wire.model import ModelRequest, StreamDecoder

_MESSAGES: Final = items(
    tagged(
        "role",
        {
            "user": {"content": need(BLOCKS)},
            "assistant": {"content": need(BLOCKS)},
            "system": {"content": BLOCKS, **plain("clear_at output_config")},
        },
    )
)
_COUNTED: Final[Fields] = {
    "model": need(string),
    "messages": need(_MESSAGES),
    **CACHE,
    "billing_policy": marks("anthropic.billing_policy", anything),
    "compaction": marks("anthropic.compaction", anything),
    "context_management": marks("anthropic.context_management", record(plain("edits"))),
    "mcp_servers": marks("anthropic.mcp_servers", items(mapping)),
    "output_config": record(
        {
            "effort": string,
            "format": tagged("type", {"json_schema": {"schema": need(mapping)}}),
            "task_budget": record(plain("type total remaining")),
        }
    ),
    "speed": string,
    "system": TEXTS,
    "thinking": tagged(
        "type",
        {
            "enabled": {"budget_tokens": need(integer), **plain("block_binding display")},
            "adaptive": plain("block_binding display"),
            "between_tools": plain("block_binding display"),
            "disabled": {},
        },
    ),
    "tool_choice": TOOL_CHOICE,
    "tools": items(TOOL),
}
COUNT_REQUEST: Final[Check] = record(_COUNTED)
REQUEST: Final[Check] = record(
    {
        **_COUNTED,
        "max_tokens": need(integer),
        "container": marks("anthropic.container", text_or(record(plain("id skills")))),
        "diagnostics": record({"previous_message_id": string}),
        "fallback_credit_token": marks("anthropic.fallbacks", anything),
        "fallbacks": marks("anthropic.fallbacks", anything),
        "inference_geo": string,
        "metadata": record({"user_id": string}),
        "service_tier": string,
        "stop_sequences": items(string),
        "stream": boolean,
        "temperature": number,
        "thread": marks("anthropic.thread", anything),
        "top_k": integer,
        "top_p": number,
    }
)
_COUNT: Final = record({"input_tokens": need(integer), **LOOSE})


class Messages:
    """The shape of messages."""

    api = "anthropic"
    operation = "POST /v1/messages"

    def request(self, payload: Any) -> ModelRequest:
        """See Shape."""
        return _request(REQUEST, payload)

    def result(self, payload: Any, request: ModelRequest) -> Result:
        """See Shape."""
        fit_result(MESSAGE, payload, request.features)
        return Result(
            payload=payload,
            size=len(encode(payload)),
            usage=tokens(payload.get("usage"), None),
            finish=payload.get("stop_reason"),
            proposals=tuple(
                call_of(block) for block in payload["content"] if block["type"] == "tool_use"
            ),
        )

    def stream(self, request: ModelRequest) -> StreamDecoder:
        """See Shape."""
        return MessageStream(request)


class CountTokens:
    """The shape of counting tokens: the content of a message, but no answer."""

    api = "anthropic"
    operation = "POST /v1/messages/count_tokens"

    def request(self, payload: Any) -> ModelRequest:
        """See Shape."""
        return _request(COUNT_REQUEST, payload)

    def result(self, payload: Any, request: ModelRequest) -> Result:
        """See Shape."""
        fit_result(_COUNT, payload, request.features)
        return Result(
            payload=payload,
            size=len(encode(payload)),
            usage=Usage(input_tokens=0, output_tokens=0),
        )

    def stream(self, request: ModelRequest) -> StreamDecoder:
        """Counting does not stream."""
        del request
        raise Problem("PC1020", "stream: this operation does not stream")


def _request(check: Check, payload: Any) -> ModelRequest:
    seen = fit_request(check, payload)
    return ModelRequest(
        model=payload["model"],
        stream=payload.get("stream") is True,
        payload=payload,
        features=tuple(dict.fromkeys(seen.features)),
        tools=tuple(dict.fromkeys(seen.tools)),
    )
