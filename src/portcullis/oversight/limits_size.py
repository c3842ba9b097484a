"""How large a model call can become, and how large a result is. Pure.

**Input**: a token for each ``bytes_per_token`` bytes of the whole request as it is sent, its JSON
included. At 2, that is about twice what text and code take; at 1 it is a bound for every tokenizer
that works on bytes, since a token has one at least. **Output**: what the request names as its
maximum, for each of the answers that it asks for; else the most that the model gives, where prices
say so; else what the configuration says.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from portcullis.core.call import Call

_MAXIMA: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_FIELDS: Final = {
    "POST /v1/chat/completions": "max_completion_tokens",
    "POST /v1/responses": "max_output_tokens",
}
"""What a maximum is called in the operations that do without one."""
_FREE: Final = ("/count_tokens",)
_SILENT: Final = ("/embeddings", *_FREE)
_TEXT: Final = 4
"""Characters of a streamed answer that are a token at least, for most of what models write."""
_NAMED: Final = 8
"""The same where the provider keeps to a maximum itself: only what surely passes it counts."""
_SERVICES: Final = {
    "service_tier": (
        frozenset({"auto", "default", "flex", "scale", "batch", "standard", "standard_only"}),
        2.5,
    ),
    "speed": (frozenset({"standard"}), 6.0),
    "inference_geo": (frozenset({"global"}), 1.1),
}
"""Fields of a request that make it dearer: the values that do not, and by how much others may."""
_LINES: Final = msgspec.json.Decoder()


def dearer(call: Call) -> float:
    """How many times its model's price a call costs at most, by the service that it asks for."""
    payload = call.payload
    if not isinstance(payload, dict):
        return 1.0
    times = 1.0
    for field, (usual, factor) in _SERVICES.items():
        value = payload.get(field)
        if value is not None and value not in usual:
            times *= factor
    return times


def sounds(call: Call) -> bool:
    """Whether a call hears or says anything, so that tokens of sound are among its tokens."""
    payload = call.payload
    if not isinstance(payload, dict):
        return False
    modalities = payload.get("modalities")
    said = isinstance(modalities, list) and "audio" in modalities
    return said or payload.get("audio") is not None or b'"input_audio"' in call.body


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
    named = maximum(payload)
    return (named or most or default) * times, named > 0


def maximum(payload: dict[str, Any]) -> int:
    """The highest that a request names as its answers' maximum, 0 for none.

    Nothing, or less, is none: there are servers that take it for as much as they like.
    """
    named = 0
    for name in _MAXIMA:
        value = payload.get(name)
        if isinstance(value, int) and value > named:
            named = value
    return named


def uncapped(call: Call) -> bool:
    """Whether a request could name a maximum of its answers, and names none."""
    payload = call.payload
    return call.method in _FIELDS and isinstance(payload, dict) and not maximum(payload)


def capped(call: Call, most: int) -> dict[str, Any]:
    """An uncapped request with ``most`` as its answers' maximum.

    What it names in vain is replaced, too.
    """
    field, payload = _FIELDS[call.method], call.payload
    vain = {name: most for name in _MAXIMA if payload.get(name) is not None}
    return {**payload, **vain, field: most}


def characters(tokens: int, *, named: bool) -> int:
    """How many characters may pass before an answer has surely more than so many tokens."""
    return tokens * (_NAMED if named else _TEXT)


def tokens(passed: int) -> int:
    """How many tokens so many characters are, when nobody says."""
    return -(-passed // _TEXT)


def rows(payload: Any) -> int:
    """The items of the largest list in a result, or of all lists in the JSON of its texts.

    Whichever is more: servers say the same in both, or only in one. Of a text, or a string of the
    structure, that is JSON its largest list counts, and so do JSON lines; where several texts are
    an object each, each is a row. Other texts have no rows.
    """
    if not isinstance(payload, dict):
        return 0
    return max(_within(payload.get("structuredContent")), _together(_texts(payload)))


def _within(structure: Any) -> int:
    """Of a structure, and of the JSON that a string in it holds."""
    most, waiting = 0, [structure]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            most = max(most, len(one))
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, str):
            most = max(most, _largest(_document(one.strip())))
    return most


def _together(texts: Iterator[str]) -> int:
    """Of all texts of an answer."""
    found = single = 0
    for text in texts:
        document = _document(text)
        listed = _largest(document)
        found += listed
        single += not listed and isinstance(document, dict)
    return found + (single if single > 1 else 0)


def _document(text: str) -> Any:
    """What a text holds that is JSON, or lines of it; None for any other."""
    if text[:1] not in {"[", "{"}:
        return None
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(text)
    with contextlib.suppress(msgspec.MsgspecError):
        return _LINES.decode_lines(text)
    return None


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
