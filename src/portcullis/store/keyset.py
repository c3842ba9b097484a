"""Pages by key: each reads a bounded piece of one index, wherever it begins.

What an index does not go by is looked at row by row, in at most ``WALK`` rows. A page that reaches
that bound ends there, with what it found, and the next one goes on behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, tuple_

WALK: Final = 20_000
"""How many entries of an index one page looks at."""


def beyond(
    columns: Sequence[ColumnElement[Any]], key: Sequence[Any], *, ascending: bool
) -> ColumnElement[bool]:
    """The rows behind a key, in the order of pages."""
    place = tuple_(*columns)
    return place > tuple(key) if ascending else place < tuple(key)


def until(
    columns: Sequence[ColumnElement[Any]], key: Sequence[Any], *, ascending: bool
) -> ColumnElement[bool]:
    """The rows up to a key and with it, in the order of pages."""
    place = tuple_(*columns)
    return place <= tuple(key) if ascending else place >= tuple(key)


def bound(connection: Connection, ordered: Select[Any], walk: int) -> tuple[Any, ...] | None:
    """The key at which a page that goes by ``ordered`` ends at the latest; None for no such end."""
    found = connection.execute(ordered.offset(walk - 1).limit(1)).one_or_none()
    return None if found is None else tuple(found)


def unindexed(column: ColumnElement[Any], nothing: str | float = "") -> ColumnElement[Any]:
    """A column that no index is to be chosen by: the page goes by another."""
    return func.coalesce(column, nothing)
