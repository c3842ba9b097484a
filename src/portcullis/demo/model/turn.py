"""What the stand-in reads out of a request and what it answers, in no provider's shape."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

CREATED: Final = 1_767_225_600
"""The date of every answer (seconds since the epoch), so that answers are deterministic."""
FINGERPRINT: Final = "portcullis-stand-in"
CRUMB: Final = 3
"""Characters in a piece of an answer that comes in crumbs."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent says a tool gave back. ``name`` is empty where the shape leaves it out."""

    name: str
    text: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request. ``said`` is the user's last text, ``asked`` the tool calls made since then."""

    model: str
    said: str
    history: str
    asked: tuple[str, ...]
    results: tuple[ToolResult, ...]
    offered: frozenset[str]
    stream: bool

    @property
    def directive(self) -> str:
        """What follows the colon of the model's name (``gpt-standin:say``), or nothing."""
        return self.model.partition(":")[2]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed call; ``arguments`` is the JSON text as it goes onto the wire."""

    name: str
    arguments: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the stand-in says: a text, calls, or both.

    A stream has the text in words, or in pieces of ``size`` characters.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    size: int = 0

    def pieces(self) -> list[str]:
        """The text as a stream delivers it; the pieces join to the text."""
        return fragments(self.text, self.size) if self.size else words(self.text)


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Identity and size of an answer: ``mark`` is derived from the request's bytes."""

    mark: str
    input_tokens: int
    output_tokens: int


def call(name: str, /, **arguments: Any) -> ToolCall:
    """A proposal with ``arguments`` as compact JSON."""
    return ToolCall(name=name, arguments=msgspec.json.encode(arguments).decode())


def tokens(text: str) -> int:
    """A rough count, four characters to a token; never zero."""
    return max(1, len(text) // 4)


def words(text: str) -> list[str]:
    """A text in pieces of one word each, as a stream delivers it; the pieces join to the text."""
    return re.findall(r"\s*\S+|\s+\Z", text)


def fragments(arguments: str, size: int = 7) -> list[str]:
    """A text in pieces that cut words and escapes where they fall, such as a call's arguments."""
    return [arguments[at : at + size] for at in range(0, len(arguments), size)] or [""]


def text_of(content: Any) -> str:
    """The text within a message's content: a string, or a list of parts with ``text``."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part for part in content if isinstance(part, dict))
    return "\n".join(
        part["text"] if isinstance(part.get("text"), str) else text_of(part.get("content"))
        for part in parts
    )


def frame(payload: dict[str, Any], *, named: bool = False) -> bytes:
    """One server-sent event; ``named`` repeats the payload's type on an ``event:`` line."""
    head = f"event: {payload['type']}\n".encode() if named else b""
    return head + b"data: " + msgspec.json.encode(payload) + b"\n\n"
