"""What the OpenAI operations have in common."""

from __future__ import annotations

import re
from typing import Any, Final

from portcullis.core.call import Usage
from portcullis.wire.fields import (
    LOOSE,
    Check,
    Fields,
    Seen,
    boolean,
    count,
    integer,
    items,
    mapping,
    need,
    plain,
    record,
    string,
    table,
    tool_name,
)
from portcullis.wire.model import ModelRequest

CACHE: Final[Fields] = {
    "prompt_cache_breakpoint": record({"mode": need(string), "ttl": string}),
}
METADATA: Final[Check] = table(string)
_MODERATE: Final = record({"mode": need(string)})
COMMON: Final[Fields] = {
    "model": need(string),
    "metadata": METADATA,
    "moderation": record(
        {"model": need(string), "policy": record({"input": _MODERATE, "output": _MODERATE})}
    ),
    "parallel_tool_calls": boolean,
    "prompt_cache_key": string,
    "prompt_cache_retention": string,
    "safety_identifier": string,
    "service_tier": string,
    "store": boolean,
    "stream": boolean,
    "top_logprobs": integer,
    "user": string,
}
"""Fields that chat completions and responses share."""
SCHEMA: Final[Fields] = {
    "name": need(string),
    "description": string,
    "schema": mapping,
    "strict": boolean,
}
CUSTOM: Final[Fields] = {
    "name": need(tool_name),
    "description": string,
}
GRAMMAR: Final[Fields] = plain("definition syntax")
ALLOWED_TOOLS: Final[Fields] = {"mode": need(string), "tools": need(items(mapping))}
USAGE: Final[Check] = record(
    {
        "prompt_tokens": count,
        "completion_tokens": count,
        "input_tokens": count,
        "output_tokens": count,
        **LOOSE,
    }
)


_SEARCHES: Final = re.compile(r"(?i)[-_]search[-_](preview|api)|:online$")
"""Models that search the web on every call, whether or not the request says so."""


def model_request(payload: dict[str, Any], seen: Seen) -> ModelRequest:
    """A request that forwards what was parsed."""
    if _SEARCHES.search(payload["model"]):
        seen.features.append("openai.web_search")
    return ModelRequest(
        model=payload["model"],
        stream=payload.get("stream") is True,
        payload=payload,
        features=tuple(dict.fromkeys(seen.features)),
        tools=tuple(dict.fromkeys(seen.tools)),
    )


def usage(value: dict[str, Any] | None, read: str, written: str) -> Usage | None:
    """The provider's count, from its names for tokens in and out."""
    if not value:
        return None
    details = value.get(f"{read}_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(
        input_tokens=value.get(read),
        output_tokens=value.get(written),
        cached_tokens=cached if type(cached) is int and cached > 0 else 0,
    )
