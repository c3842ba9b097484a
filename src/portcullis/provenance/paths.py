"""What stands where in a JSON value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from portcullis.core.containment import ITEMS, KEYS, LINES, VALUES, Step

DEPTH: Final = 32
"""How deep a value is looked into; what lies deeper is in one piece and has no source."""


def leaves(
    path: tuple[str, ...], value: Any, depth: int = 0
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every text, number and truth value of an argument, with its path (without items of lists).

    Where there is none, None, since the names on the way may say something.
    """
    if depth >= DEPTH and isinstance(value, dict | list):
        yield path, value
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves(path, item, depth + 1)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves((*path, key), item, depth + 1)
    else:
        yield path, None if isinstance(value, dict | list) else value


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
