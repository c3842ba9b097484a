"""Pages of approvals: each state by its own index, brought together in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, select

from portcullis.core.approval import Approval, State
from portcullis.core.cursor import cursor_of, key_of
from portcullis.core.desk import Wanted
from portcullis.store.keyset import WALK, beyond, bound, unindexed, until
from portcullis.store.tables import APPROVALS

COLUMNS: Final = tuple(APPROVALS.c[name] for name in Approval.__struct_fields__)
"""All but what is sealed, which may be large."""
LIVE: Final = (State.PENDING, State.APPROVED)

_ORDER: Final = (APPROVALS.c.created_at, APPROVALS.c.id)
_LEADING: Final = ("session", "agent", "name", "server", "risk")
"""The columns by which there is an index, the one that leaves least first."""

_Key: TypeAlias = tuple[float, str]
_decoder: Final = msgspec.json.Decoder(tuple[float, str])


def page(
    connection: Connection,
    wanted: Wanted,
    cursor: str,
    limit: int,
    now: float,
    *,
    walk: int = WALK,
) -> tuple[list[RowMapping], str]:
    """The rows of a page, and the cursor of the next. Raises Problem PC3051."""
    after = key_of(cursor, _decoder)
    ascending = wanted.states == (State.PENDING,)
    given = [name for name in _LEADING if getattr(wanted, name)]
    rest = [unindexed(APPROVALS.c[name]) == getattr(wanted, name) for name in given[1:]]
    walks = [
        (state, _walk(state, wanted, given[:1], after, ascending=ascending))
        for state in dict.fromkeys(wanted.states)
    ]
    end = None
    if rest:
        ends = [bound(connection, _keys(one), walk) for _, one in walks]
        nearest = min if ascending else max
        end = nearest((one for one in ends if one is not None), default=None)
        if end is not None:
            rest.append(until(_ORDER, end, ascending=ascending))
    found: list[RowMapping] = []
    for state, one in walks:
        lasting = [unindexed(APPROVALS.c.expires_at, 0.0) > now] if state in LIVE else []
        query = one.where(*rest, *lasting).limit(limit + 1)
        found += connection.execute(query).mappings()
    found.sort(key=_key, reverse=not ascending)
    if len(found) > limit:
        return found[:limit], cursor_of(*_key(found[limit - 1]))
    return found, "" if end is None else cursor_of(*end)


def _walk(
    state: State, wanted: Wanted, leading: Sequence[str], after: _Key | None, *, ascending: bool
) -> Select[Any]:
    fits: list[ColumnElement[bool]] = [APPROVALS.c.state == state]
    fits += [APPROVALS.c[name] == getattr(wanted, name) for name in leading]
    if after is not None:
        fits.append(beyond(_ORDER, after, ascending=ascending))
    order = _ORDER if ascending else tuple(column.desc() for column in _ORDER)
    return select(*COLUMNS).where(*fits).order_by(*order)


def _keys(query: Select[Any]) -> Select[Any]:
    return query.with_only_columns(*_ORDER)


def _key(row: RowMapping) -> _Key:
    return row["created_at"], row["id"]
