"""What stands where in a JSON value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from portcullis.core.containment import ITEMS, KEYS, LINES, VALUES, Step

DEPTH: Final = 32
"""How deep a value is looked into; what lies deeper is in one piece and has no source."""


def leaves(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every text, number and truth value of an argument, with its path (without items of lists)."""
    if depth >= DEPTH and isinstance(value, dict | list):
        yield name, value
    elif isinstance(value, list):
        for item in value:
            yield from leaves(name, item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(f"{name}.{key}", item, depth + 1)
    elif value is not None:
        yield name, value


def found(value: Any, path: Sequence[Step]) -> Iterator[Any]:
    """The values at a path: none where the path leads nowhere. At its end, a list's items."""
    if not path:
        yield from value if isinstance(value, list) else (value,)
        return
    step, rest = path[0], path[1:]
    if step == ITEMS:
        for item in value if isinstance(value, list) else ():
            yield from found(item, rest)
    elif step == VALUES:
        for item in value.values() if isinstance(value, Mapping) else ():
            yield from found(item, rest)
    elif step == KEYS:
        yield from value if isinstance(value, Mapping) else ()
    elif step == LINES:
        yield from _lines(value) if isinstance(value, str) else ()
    elif isinstance(value, Mapping) and step in value:
        yield from found(value[step], rest)


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield line
        _, colon, after = line.partition(": ")
        if colon:
            yield after
