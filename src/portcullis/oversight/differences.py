"""What differs between the arguments of two calls, for whoever decides on the second."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portcullis.core.desk import Difference
from portcullis.wire.json import encode

MOST: Final = 200
"""Most differences that are told; of more, the last one says how many."""
WINDOW: Final = 160
"""Characters of a text that are shown, around where it first differs."""
REST: Final = "\u2026"
"""Stands where a text was cut, and as the path of what is not told."""

_BEFORE: Final = 40
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_LONGEST: Final = 200
_NOTHING: Final = object()


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[int, tuple[Difference, ...]]:
    """How many values are the same, and what differs, in the order of ``after``.

    Both are JSON objects. Lists are compared item by item. What is only on one side is one
    difference, however much it holds. A number, a text and a truth value never are the same.
    """
    found: list[Difference] = []
    same = more = 0
    for one in _compared("", dict(before), dict(after)):
        if one is None:
            same += 1
        elif len(found) < MOST:
            found.append(one)
        else:
            more += 1
    if more:
        found[-1] = Difference(
            path=REST, kind="changed", before="", after=f"{more + 1} more differences"
        )
    return same, tuple(found)


def _compared(path: str, before: Any, after: Any) -> Iterator[Difference | None]:
    """Each value that is the same (None), and each that is not."""
    if isinstance(before, dict) and isinstance(after, dict) and (before or after):
        for name in (*after, *(name for name in before if name not in after)):
            yield from _compared(
                _member(path, name), before.get(name, _NOTHING), after.get(name, _NOTHING)
            )
    elif isinstance(before, list) and isinstance(after, list) and (before or after):
        for index in range(max(len(before), len(after))):
            yield from _compared(f"{path}[{index}]", _item(before, index), _item(after, index))
    elif before is _NOTHING:
        yield _told(path, "added", "", _text(after))
    elif after is _NOTHING:
        yield _told(path, "removed", _text(before), "")
    elif type(before) is type(after) and before == after:
        yield None
    elif isinstance(before, str) and isinstance(after, str):
        yield _told(path, "changed", before, after)
    else:
        yield _told(path, "changed", _json(before), _json(after))


def _told(path: str, kind: Any, before: str, after: str) -> Difference:
    at = 0
    if kind == "changed":
        pairs = enumerate(zip(before, after, strict=False))
        at = next((i for i, (one, other) in pairs if one != other), min(len(before), len(after)))
    shown = path if len(path) <= _LONGEST else path[:_LONGEST] + REST
    return Difference(path=shown, kind=kind, before=_window(before, at), after=_window(after, at))


def _window(text: str, at: int) -> str:
    if len(text) <= WINDOW:
        return text
    start = max(0, min(at - _BEFORE, len(text) - WINDOW))
    end = start + WINDOW
    return (REST if start else "") + text[start:end] + (REST if end < len(text) else "")


def _member(path: str, name: str) -> str:
    if _NAME.fullmatch(name):
        return f"{path}.{name}" if path else name
    return f"{path}[{_json(name)}]"


def _item(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else _NOTHING


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return encode(value).decode()
