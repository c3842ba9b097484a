"""A tool's definition: its digest, and every text in it that a model may read."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

_SAYS: Final = re.compile(r"(?s)\s|.{25}")
"""A member's name that may say something to a model: of several words, or long."""
_SHORT: Final = re.compile(r"[A-Za-z0-9_.:/#$-]{0,12}")
"""A string that says nothing by itself: a type, a format, a choice."""


def digest(definition: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(definition.encode()).hexdigest()


def texts(definition: str) -> tuple[str, ...]:
    """The texts in a definition: descriptions, titles, defaults, examples, names that speak.

    Every string is one, wherever it stands: what a keyword means to a validator does not bind
    what reads it. Short single words are left out, but the strings of a list are one text too.
    """
    found: list[str] = []
    waiting: list[Any] = [msgspec.json.decode(definition)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            found += (key.replace("_", " ") for key in value if _SAYS.search(key))
            waiting += reversed(value.values())
        elif isinstance(value, list):
            found.append(" ".join(item for item in value if isinstance(item, str)))
            waiting += reversed(value)
        elif isinstance(value, str):
            found.append(value)
    return tuple(text for text in dict.fromkeys(found) if not _SHORT.fullmatch(text))
