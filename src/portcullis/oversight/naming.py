"""Names in what is said of a held call: those that nobody declared may be an agent's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portcullis.core.call import Action, Call
from portcullis.core.names import HIDDEN, made_of_words

_PLACE: Final = re.compile(r"(?<=[A-Z0-9_] in )[^\s,;]+")
"""Where something was found: ``EMAIL_ADDRESS in params.arguments.to[0]``."""
_STEP: Final = re.compile(r"[^.\[\]]+(?![^\[]*\])")
_OURS: Final = frozenset(
    {"$", "...", "arguments", "content", "function", "input", "instructions", "messages"}
    | {"params", "prompt", "system", "text", "tool_calls", "tools"}
)
"""What protocols call the members of their requests."""

MOST_NAMED: Final = 200
"""Longest name of what is called that stands in an approval, in characters; the rest is cut."""


def told_name(call: Call) -> str:
    """What is called, as it may be told: a tool that is offered, or a name in one word."""
    if call.action is Action.TOOL and call.tool is None:
        return HIDDEN
    return call.name if made_of_words(call.name) and " " not in call.name else HIDDEN


def told_why(reason: str, call: Call) -> str:
    """Why a call is held, without the names of arguments that its tool does not declare."""
    known = _OURS | set(_declared(call.tool.input_schema if call.tool else {}))

    def named(step: re.Match[str]) -> str:
        return step[0] if step[0] in known else HIDDEN

    return _PLACE.sub(lambda place: _STEP.sub(named, place[0]), reason)


def _declared(schema: Any) -> Iterator[str]:
    """The members that a schema names, at any depth."""
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            yield from properties
        schema = tuple(schema.values())
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from _declared(one)
