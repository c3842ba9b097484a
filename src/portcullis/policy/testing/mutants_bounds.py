"""Mutants of the bounds of arguments, and of time windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from portcullis.policy.testing.mutant import Mutant, dropped, mutant
from portcullis.policy.testing.tree import Edit, Part, Tree

_DAYS: Final = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_HOUR: Final = re.compile(r"(\d\d):(\d\d)")
_LAST: Final = 23


def bounds(tree: Tree, tool: Part) -> Iterator[Mutant]:
    """Each bound gone, or a little wider; each value of an enumeration gone."""
    for bound in tree.bounds(tool):
        argument, kind, value = str(bound.steps[-2]), bound.name, bound.value
        breaks = f"a denied call of {tool.name} whose {argument} breaks {kind} {_said(value)}"
        yield dropped(bound, breaks, prune=True)
        if kind == "enum" and isinstance(value, list) and len(value) > 1:
            for index, item in enumerate(value):
                yield mutant(
                    "narrow",
                    bound,
                    f"{bound.path} without {item}",
                    f"an allowed call of {tool.name} with {argument}: {item}",
                    Edit("drop", bound.file, (*bound.steps, index)),
                )
        wide = _wider(kind, value)
        if wide is not None:
            yield mutant(
                "widen",
                bound,
                f"{bound.path} is {_said(wide)} instead of {_said(value)}",
                _between(tool.name, argument, kind, wide),
                Edit("set", bound.file, bound.steps, wide),
            )


def windows(tree: Tree, window: Part) -> Iterator[Mutant]:
    """Each window on all days, and an hour longer at each end."""
    days = tree.child(window, "days")
    if days is not None and isinstance(days.value, list) and len(days.value) < len(_DAYS):
        free = ", ".join(day for day in _DAYS if day not in days.value)
        yield mutant(
            "widen",
            days,
            f"{window.path} is open on all days",
            f"a denied call on one of {free}, within the hours of {window.name}",
            Edit("set", days.file, days.steps, _DAYS),
        )
    for key, by in (("from", -1), ("to", 1)):
        end = tree.child(window, key)
        other = None if end is None else _shifted(str(end.value), by)
        if end is not None and other is not None:
            yield mutant(
                "widen",
                end,
                f"{end.path} is {other} instead of {end.value}",
                f"a denied call between {min(other, end.value)} and {max(other, end.value)}",
                Edit("set", end.file, end.steps, other),
            )


def _wider(kind: str, value: Any) -> Any:
    """The next wider value of a bound; None where there is none but to drop it."""
    if kind in {"maximum", "max_length"}:
        return value + 1
    if kind == "minimum":
        return value - 1
    if kind == "prefix" and isinstance(value, str):
        parent = value.rstrip("/").rpartition("/")
        wide = parent[0] + parent[1] if "/" in value else value[:-1]
        return wide or None
    return None


def _between(tool: str, argument: str, kind: str, wide: Any) -> str:
    if kind == "prefix":
        return f"a denied call of {tool} whose {argument} is below {wide}"
    if kind == "max_length":
        return f"a denied call of {tool} whose {argument} is {wide} long"
    return f"a denied call of {tool} with {argument}: {wide}"


def _shifted(text: str, hours: int) -> str | None:
    found = _HOUR.fullmatch(text)
    if found is None or not 0 <= int(found[1]) + hours <= _LAST:
        return None
    return f"{int(found[1]) + hours:02d}:{found[2]}"


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
