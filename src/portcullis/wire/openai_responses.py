"""``POST /v1/responses``: the request's shape.

``openai_responses_items`` has the items and tools; ``openai_responses_result`` the answer.
"""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import Result
from portcullis.wire.fields import (
    Check,
    anything,
    boolean,
    fit_request,
    flag,
    integer,
    items,
    marks,
    need,
    number,
    plain,
    record,
    string,
    table,
    text_or,
)
from portcullis.wire.model import ModelRequest, StreamDecoder
from portcullis.wire.openai_fields import COMMON, model_request
from portcullis.wire.openai_responses_items import (
    INPUT_ITEM,
    INPUT_PART,
    TEXT_FORMAT,
    TOOL,
    TOOL_CHOICE,
)
from portcullis.wire.openai_responses_result import ResponseStream, response_result

REQUEST: Final[Check] = record(
    {
        **COMMON,
        "access_programs": record({"cyber": string}),
        "background": flag("openai.background"),
        "context_management": marks("openai.compaction", items(anything)),
        "conversation": marks("openai.conversation", text_or(record({"id": need(string)}))),
        "image": record({"context_compression": string}),
        "include": items(string),
        "input": text_or(items(INPUT_ITEM)),
        "instructions": string,
        "max_output_tokens": integer,
        "max_tool_calls": integer,
        "previous_response_id": marks("openai.previous_response_id"),
        "prompt": marks(
            "openai.prompt_id",
            record(
                {"id": need(string), "version": string, "variables": table(text_or(INPUT_PART))}
            ),
        ),
        "prompt_cache_options": record(plain("comparison_response_id mode prewarm ttl")),
        "reasoning": record(plain("context effort generate_summary mode summary")),
        "stream_options": record({"include_obfuscation": boolean}),
        "temperature": number,
        "text": record({"format": TEXT_FORMAT, "verbosity": string}),
        "tool_choice": TOOL_CHOICE,
        "tools": items(TOOL),
        "top_p": number,
        "truncation": string,
    }
)


class Responses:
    """The shape of responses."""

    api = "openai"
    operation = "POST /v1/responses"

    def request(self, payload: Any) -> ModelRequest:
        """See Shape."""
        return model_request(payload, fit_request(REQUEST, payload))

    def result(self, payload: Any, request: ModelRequest) -> Result:
        """See Shape."""
        return response_result(payload, request)

    def stream(self, request: ModelRequest) -> StreamDecoder:
        """See Shape."""
        return ResponseStream(request)
