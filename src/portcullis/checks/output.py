"""A model's final answer, held to the JSON Schema that the session declared.

Final is an answer without tool calls; of several that were asked for at once, each counts by
itself. Each of its texts is one JSON document of that schema; reasoning is not an answer, a
refusal is one that does not fit, and so is none at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from portcullis.catalogue.schema import UnusableSchema, Validator
from portcullis.core.errors import Problem
from portcullis.core.verdict import Deny
from portcullis.wire.json import decode

_ANSWER: Final = re.compile(
    r"choices\[\d+\]\.message\.(content(\[\d+\]\.text)?|refusal)"
    r"|output\[\d+\]\.content\[\d+\]\.(text|refusal)"
    r"|content\[\d+\]\.text"
)
"""Where the APIs have the text of an answer."""
_CHOICE: Final = re.compile(r"choices\[(\d+)\]")
_SPEAKS: Final = frozenset({"POST /v1/chat/completions", "POST /v1/responses", "POST /v1/messages"})
"""The operations whose results are answers."""
NOTHING: Final = Deny(code="PC3028", reason="there is no answer")
_KNOWN: Final = 256


class Schemas:
    """The compiled schemas of sessions; those of the last few are remembered."""

    def __init__(self) -> None:
        self._known: dict[bytes, Validator] = {}

    def validator(self, schema: Mapping[str, Any]) -> Validator:
        """Raises Problem PC3028 for a schema that cannot be enforced."""
        key = msgspec.json.encode(schema)
        found = self._known.get(key)
        if found is None:
            try:
                found = Validator(dict(schema))
            except UnusableSchema as unusable:
                raise Problem("PC3028", f"output_schema: {unusable}") from None
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[key] = found
        return found


def is_answer(where: str) -> bool:
    """Whether the text at this place of a model's answer is said to the user."""
    return _ANSWER.fullmatch(where) is not None


def choice_of(where: str) -> int:
    """Which of several answers to one request a place belongs to; most APIs give one."""
    found = _CHOICE.match(where)
    return int(found[1]) if found else 0


def silent(asked: Mapping[str, Any], heard: Collection[int]) -> Deny | None:
    """The Deny of a result that lacks an answer or a call in a choice that was asked for."""
    count = asked.get("n")
    wanted = range(count if type(count) is int else 1)
    return None if heard and all(choice in heard for choice in wanted) else NOTHING


def speaks(method: str) -> bool:
    """Whether this operation's result is an answer of a model."""
    return method in _SPEAKS


def unfit(validator: Validator, text: str) -> Deny | None:
    """The Deny of a text that is not a JSON document of the schema; no value is quoted."""
    try:
        broken = validator.check(decode(text.encode("utf-8", "surrogatepass")))
    except Problem as problem:
        return Deny(code="PC3028", reason=f"the answer is not strict JSON: {problem.detail}")
    return Deny(code="PC3028", reason="; ".join(broken)) if broken else None
