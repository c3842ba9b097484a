"""What came of a step, in words: names and figures of the record, a line for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def facts(said: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The facts of a step, each by its name and as a text; what says nothing is left out."""
    return tuple((name.replace("_", " "), _text(value)) for name, value in said.items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(one)}" for name, one in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    return str(value)
