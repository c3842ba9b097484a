"""``--json`` on lines: an object each; where there are several sorts, ``kind`` says which."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgspec


def plain(value: Any) -> dict[str, Any]:
    """A struct as its members."""
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found


def without_kind(value: Any) -> dict[str, Any]:
    """The same without its own ``kind``, which the line tells under another name."""
    found = plain(value)
    found.pop("kind")
    return found


def write_line(value: Mapping[str, Any]) -> None:
    """Print one object."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
