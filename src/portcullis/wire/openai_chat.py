"""``POST /v1/chat/completions``: the request's shape and the whole answer's.

A stream is told to report its usage (``stream_options.include_usage``), since the provider's
count is the truth that budgets need.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from portcullis.core.call import Result, ToolProposal
from portcullis.wire.fields import (
    LOOSE,
    OPEN,
    Check,
    Fields,
    anything,
    boolean,
    fit_request,
    fit_result,
    inline_data,
    inline_url,
    integer,
    items,
    mapping,
    marks,
    maybe,
    need,
    number,
    plain,
    record,
    string,
    table,
    tagged,
    text_or,
    tool_name,
)
from portcullis.wire.json import encode
from portcullis.wire.model import ModelRequest, StreamDecoder, free_proposal, proposal
from portcullis.wire.openai_chat_stream import ChatStream
from portcullis.wire.openai_fields import (
    ALLOWED_TOOLS,
    CACHE,
    COMMON,
    CUSTOM,
    GRAMMAR,
    SCHEMA,
    USAGE,
    model_request,
    usage,
)

_TEXT: Final[Fields] = {"text": need(string), **CACHE}
_TEXTS: Final = text_or(items(tagged("type", {"text": _TEXT})))
_PARTS: Final = text_or(
    items(
        tagged(
            "type",
            {
                "text": _TEXT,
                "image_url": {
                    "image_url": need(
                        record({"url": need(inline_url("openai.image_url")), "detail": string})
                    ),
                    **CACHE,
                },
                "input_audio": {
                    "input_audio": need(record({"data": need(string), "format": need(string)})),
                    **CACHE,
                },
                "file": {
                    "file": need(
                        record(
                            {
                                "file_data": inline_data("openai.file_url"),
                                "file_id": marks("openai.file_id"),
                                "filename": string,
                            }
                        )
                    ),
                    **CACHE,
                },
            },
        )
    )
)
_CALLED: Final = record({"name": need(string), "arguments": need(string)})
_MESSAGES: Final = items(
    tagged(
        "role",
        {
            "system": {"content": need(_TEXTS), "name": string},
            "developer": {"content": need(_TEXTS), "name": string},
            "user": {"content": need(_PARTS), "name": string},
            "tool": {"content": need(_TEXTS), "tool_call_id": need(string)},
            "function": {"content": need(maybe(string)), "name": need(string)},
            "assistant": {
                "content": text_or(
                    items(tagged("type", {"text": _TEXT, "refusal": {"refusal": need(string)}}))
                ),
                "refusal": string,
                "name": string,
                # Clients send the answer back as they got it; citations are the provider's.
                "annotations": items(
                    tagged("type", {"url_citation": {"url_citation": need(mapping)}})
                ),
                "audio": marks(
                    "openai.audio_id",
                    record({"id": need(string), **plain("data expires_at transcript")}),
                ),
                "function_call": _CALLED,
                "tool_calls": items(
                    tagged(
                        "type",
                        {
                            "function": {"id": need(string), "function": need(_CALLED)},
                            "custom": {
                                "id": need(string),
                                "custom": need(
                                    record({"name": need(string), "input": need(string)})
                                ),
                            },
                        },
                    )
                ),
            },
        },
    )
)
_FUNCTION: Final[Fields] = {
    "name": need(tool_name),
    "description": string,
    "parameters": mapping,
    "strict": boolean,
}
_FORMAT: Final = tagged("type", {"text": {}, "grammar": {"grammar": need(record(GRAMMAR))}})
_TOOLS: Final = items(
    tagged(
        "type",
        {
            "function": {"function": need(record(_FUNCTION))},
            "custom": {"custom": need(record({**CUSTOM, "format": _FORMAT}))},
        },
    )
)
_NAMED: Final = record({"name": need(string)})
REQUEST: Final[Check] = record(
    {
        **COMMON,
        "messages": need(_MESSAGES),
        "audio": record(
            {"format": need(string), "voice": need(text_or(record({"id": need(string)})))}
        ),
        "frequency_penalty": number,
        "function_call": text_or(_NAMED),
        "functions": items(record(_FUNCTION)),
        "logit_bias": table(integer),
        "logprobs": boolean,
        "max_completion_tokens": integer,
        "max_tokens": integer,
        "modalities": items(string),
        "n": integer,
        "prediction": tagged("type", {"content": {"content": need(_TEXTS)}}),
        "presence_penalty": number,
        "prompt_cache_options": record({"mode": string, "ttl": string}),
        "reasoning_effort": string,
        "response_format": tagged(
            "type",
            {"text": {}, "json_object": {}, "json_schema": {"json_schema": need(record(SCHEMA))}},
        ),
        "seed": integer,
        "stop": text_or(items(string)),
        "stream_options": record({"include_usage": boolean, "include_obfuscation": boolean}),
        "temperature": number,
        "tool_choice": text_or(
            tagged(
                "type",
                {
                    "function": {"function": need(_NAMED)},
                    "custom": {"custom": need(_NAMED)},
                    "allowed_tools": {"allowed_tools": need(record(ALLOWED_TOOLS))},
                },
            )
        ),
        "tools": _TOOLS,
        "top_p": number,
        "verbosity": string,
        "web_search_options": marks(
            "openai.web_search", record(plain("search_context_size user_location"))
        ),
    }
)

_ANSWERED: Final = record({"name": need(string), "arguments": need(string), **OPEN})
_MESSAGE: Final = record(
    {
        "role": need(string),
        "content": string,
        "refusal": string,
        "annotations": items(anything),
        "audio": mapping,
        "function_call": _ANSWERED,
        "tool_calls": items(
            tagged(
                "type",
                {
                    "function": {"id": need(string), "function": need(_ANSWERED), **OPEN},
                    "custom": {
                        "id": need(string),
                        "custom": need(
                            record({"name": need(string), "input": need(string), **OPEN})
                        ),
                        **OPEN,
                    },
                },
            )
        ),
        **OPEN,
    }
)
_CHOICE: Final = record(
    {
        "index": integer,
        "message": need(_MESSAGE),
        "finish_reason": string,
        "logprobs": mapping,
        **OPEN,
    }
)
_ANSWER: Final = record({"choices": need(items(_CHOICE)), "usage": USAGE, **LOOSE})


class ChatCompletions:
    """The shape of chat completions."""

    api = "openai"
    operation = "POST /v1/chat/completions"

    def request(self, payload: Any) -> ModelRequest:
        """See Shape."""
        request = model_request(payload, fit_request(REQUEST, payload))
        options = payload.get("stream_options") or {}
        if not request.stream or options.get("include_usage"):
            return request
        return ModelRequest(
            model=request.model,
            stream=True,
            payload={**payload, "stream_options": {**options, "include_usage": True}},
            features=request.features,
            tools=request.tools,
            strip_usage=True,
        )

    def result(self, payload: Any, request: ModelRequest) -> Result:
        """See Shape."""
        fit_result(_ANSWER, payload, request.features)
        proposals: list[ToolProposal] = []
        for at, choice in enumerate(payload["choices"]):
            made = _proposals(choice["message"])
            proposals += [msgspec.structs.replace(one, choice=at) for one in made]
        choices = payload["choices"]
        return Result(
            payload=payload,
            size=len(encode(payload)),
            usage=usage(payload.get("usage"), "prompt_tokens", "completion_tokens"),
            finish=choices[0].get("finish_reason") if choices else None,
            proposals=tuple(proposals),
        )

    def stream(self, request: ModelRequest) -> StreamDecoder:
        """See Shape."""
        return ChatStream(strip_usage=request.strip_usage)


def _proposals(message: dict[str, Any]) -> list[ToolProposal]:
    found = []
    for call in message.get("tool_calls") or ():
        if call["type"] == "custom":
            custom = call["custom"]
            found.append(free_proposal(call["id"], custom["name"], custom["input"]))
        else:
            function = call["function"]
            found.append(proposal(call["id"], function["name"], function["arguments"]))
    legacy = message.get("function_call")
    if legacy:
        found.append(proposal("", legacy["name"], legacy["arguments"]))
    return found
