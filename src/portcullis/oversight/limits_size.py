"""How large a model call can become, and how large a result is. Pure.

**Input**: a token for each ``bytes_per_token`` bytes of the whole request as it is sent, its JSON
included. At 2, that is about twice what text and code take; at 1 it is a bound for every tokenizer
that works on bytes, since a token has one at least. **Output**: what the request names as its
maximum, for each of the answers that it asks for; else the most that the model gives, where prices
say so; else what the configuration says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from portcullis.core.call import Call

_MAXIMA: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_FREE: Final = ("/count_tokens",)
_SILENT: Final = ("/embeddings", *_FREE)
_TEXT: Final = 4
"""Characters of a streamed answer that are a token at least, for most of what models write."""
_NAMED: Final = 8
"""The same where the provider keeps to a maximum itself: only what surely passes it counts."""
_LARGEST: Final = 2**22
"""Longest text, in characters, that is read as JSON to count its rows."""


def read(call: Call, bytes_per_token: float) -> int:
    """The most tokens of a request; counting tokens is free."""
    if call.method.endswith(_FREE):
        return 0
    return math.ceil(len(call.body) / bytes_per_token)


def written(call: Call, default: int, most: int) -> tuple[int, bool]:
    """The most tokens of the answers to a request, and whether it names that itself."""
    if call.method.endswith(_SILENT):
        return 0, True
    payload = call.payload
    if not isinstance(payload, dict):
        return most or default, False
    answers = payload.get("n", 1)
    times = answers if isinstance(answers, int) and answers > 0 else 1
    named = -1
    for name in _MAXIMA:
        value = payload.get(name)
        if isinstance(value, int) and value > named:
            named = value
    return (named if named >= 0 else most or default) * times, named >= 0


def characters(tokens: int, *, named: bool) -> int:
    """How many characters may pass before an answer has surely more than so many tokens."""
    return tokens * (_NAMED if named else _TEXT)


def tokens(passed: int) -> int:
    """How many tokens so many characters are, when nobody says."""
    return -(-passed // _TEXT)


def rows(payload: Any) -> int:
    """The items of the largest list in a result: of its structure, or of JSON in its texts.

    The content blocks of MCP are no rows, nor are the lines of a text.
    """
    if not isinstance(payload, dict):
        return 0
    if "structuredContent" in payload:
        return _largest(payload["structuredContent"])
    found = 0
    for text in _texts(payload):
        if text[:1] in {"[", "{"} and len(text) <= _LARGEST:
            try:
                found = max(found, _largest(msgspec.json.decode(text)))
            except msgspec.MsgspecError:
                continue
    return found


def _texts(payload: dict[str, Any]) -> Iterator[str]:
    for name in ("content", "contents"):
        blocks = payload.get(name)
        for block in blocks if isinstance(blocks, list) else ():
            within = block.get("resource", block) if isinstance(block, dict) else None
            text = within.get("text") if isinstance(within, dict) else None
            if isinstance(text, str):
                yield text.strip()


def _largest(value: Any) -> int:
    most, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            most = max(most, len(one))
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
    return most
