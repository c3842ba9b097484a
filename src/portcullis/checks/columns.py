"""Columns and records of a JSON document: where they are, and the document without them. Pure.

A path is names of members, ``*`` for every item of a list or member of an object; a list on the
way stands for its items also where a name is expected, so that a list of what was meant to be one
is treated as well. With ``{}`` as its last step, it is the names of an object's members.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, TypeAlias

from portcullis.core.obligation import EACH, RowScope, Scalar

Place: TypeAlias = tuple[str | int, ...]
Steps: TypeAlias = tuple[str, ...]


class Unreadable(Exception):  # noqa: N818 - it says what is the matter
    """A text or a number stands where the path goes on: what is in it cannot be known."""


class OutOfReach(Exception):  # noqa: N818 - it says what is the matter
    """The whole document is of something that may not be seen, or does not say of what.

    Its argument is the name of the scope.
    """


class _Seen(Enum):
    GOOD = "good"
    OTHER = "other"
    ABSENT = "absent"


def places(document: Any, path: Steps, at: Place = ()) -> list[Place]:
    """Where the values of a column stand; none where there are none. Raises Unreadable."""
    if not path:
        return [at]
    step, rest = path[0], path[1:]
    if isinstance(document, list):
        below = rest if step == EACH else path
        return [
            place
            for index, item in enumerate(document)
            for place in places(item, below, (*at, index))
        ]
    if isinstance(document, dict):
        names = document if step == EACH else (step,) if step in document else ()
        return [place for name in names for place in places(document[name], rest, (*at, name))]
    if document is None:
        return []
    raise Unreadable


def members(document: Any, path: Steps) -> list[Place]:
    """Where the members stand whose names are a column; ``path`` leads to what holds them."""
    found: list[Place] = []
    left = [(place, at(document, place)) for place in places(document, path)]
    while left:
        place, value = left.pop(0)
        if isinstance(value, dict):
            found += [(*place, name) for name in value]
        elif isinstance(value, list):
            left += [((*place, index), item) for index, item in enumerate(value)]
        elif value is not None:
            raise Unreadable
    return found


def at(document: Any, place: Place) -> Any:
    """What stands at a place."""
    for step in place:
        document = document[step]
    return document


def leads(document: Any, path: Steps) -> bool:
    """Whether the document is of the shape that a column's path means, or holds nothing."""
    if document is None or document in ({}, []):
        return True
    step, rest = path[0], path[1:]
    if isinstance(document, list):
        below = rest if step == EACH else path
        return not below or any(leads(item, below) for item in document)
    if not isinstance(document, dict):
        return False
    if not rest:
        return True
    if step == EACH:
        return any(leads(item, rest) for item in document.values())
    return step in document and leads(document[step], rest)


def without(document: Any, gone: Iterable[Place]) -> Any:
    """The document without the values at some places, of which none is the document itself."""
    below: dict[str | int, list[Place]] = {}
    ended: set[str | int] = set()
    for place in gone:
        if len(place) == 1:
            ended.add(place[0])
        else:
            below.setdefault(place[0], []).append(place[1:])
    if isinstance(document, list):
        return [
            without(item, below[index]) if index in below else item
            for index, item in enumerate(document)
            if index not in ended
        ]
    return {
        name: without(item, below[name]) if name in below else item
        for name, item in document.items()
        if name not in ended
    }


def in_reach(document: Any, scopes: Sequence[RowScope]) -> tuple[Any, frozenset[str]]:
    """The document without the records that are out of some scope, and which scopes those were of.

    A record that does not say what it is of is out. Raises OutOfReach.
    """
    hit = set()
    for scope in scopes:
        fits = False
        for path in scope.paths:
            found, seen = _kept(document, path, scope.values)
            if seen is _Seen.OTHER:
                raise OutOfReach(scope.name)
            if seen is _Seen.GOOD:
                fits = True
                if found != document:
                    hit.add(scope.name)
                    document = found
        if not fits:
            raise OutOfReach(scope.name)
    return document, frozenset(hit)


def _kept(value: Any, path: Steps, known: Sequence[Scalar]) -> tuple[Any, _Seen]:
    """The value with good records only, and whether it is good for the record that it is in."""
    if not path:
        return value, _Seen.GOOD if _named(value, known) else _Seen.OTHER
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        below = rest if step == EACH else path
        items = [_kept(item, below, known) for item in value]
        return [item for item, seen in items if seen is _Seen.GOOD], _Seen.GOOD
    if isinstance(value, dict) and step == EACH:
        members = {name: _kept(item, rest, known) for name, item in value.items()}
        return {n: item for n, (item, seen) in members.items() if seen is _Seen.GOOD}, _Seen.GOOD
    if isinstance(value, dict) and step in value:
        item, seen = _kept(value[step], rest, known)
        return (value if item is value[step] else {**value, step: item}), seen
    if value is None and step == EACH:
        return value, _Seen.GOOD
    return value, _Seen.ABSENT


def _named(value: Any, known: Sequence[Scalar]) -> bool:
    """Whether a field has one of the values; all of a list of them, of which there is one."""
    if isinstance(value, list):
        return bool(value) and all(_named(one, known) and type(one) is not list for one in value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return any(isinstance(one, str) == isinstance(value, str) and one == value for one in known)
