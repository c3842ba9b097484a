"""The kill feed's tables: who is cut off, isolated, not active or rotated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from sqlalchemy import Column, Connection, Delete, Engine, Table, delete, func, select

from portcullis.core.feed import Kept
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind
from portcullis.store.dialect import Version, data_version, horizon_of, since, upsert, writing
from portcullis.store.tables import CUTS, ISOLATIONS, PRINCIPALS

Key: TypeAlias = tuple[str, str]
"""Scope and value."""

_Value = TypeVar("_Value")
_Principal: TypeAlias = tuple[Any, ...]
"""A row of ``PRINCIPALS``: those of its columns that matter here."""
_PRINCIPAL: Final = tuple(
    PRINCIPALS.c[name] for name in ("kind", "id", "state", "rotated_at", "spiffe_id")
)

UNSAID: Final = "cut off by an operator"
"""The reason where none was given."""
_WIDTH: Final = 200
"""The longest reason that is kept, in characters."""


class Known(msgspec.Struct):
    """What is known: cuts, isolations, principals that are not active, times of rotation.

    And who is registered, and whom identities of other trust domains stand for.
    """

    registered: set[Key] = set()
    cuts: dict[Key, str] = {}
    isolations: dict[Key, str] = {}
    states: dict[Key, str] = {}
    rotated: dict[Key, float] = {}
    named: dict[str, tuple[PrincipalKind, str]] = {}

    def cutting(self) -> tuple[object, ...]:
        """The part of it that stands against somebody."""
        return self.cuts, self.isolations, self.states, self.rotated


def why(state: State) -> str:
    """The reason that a principal hears which is not active."""
    return f"the principal is {state}"


class Changed(msgspec.Struct, frozen=True):
    """Rows that may have changed, and how many there are of each table now."""

    principals: tuple[_Principal, ...]
    cuts: dict[Key, str]
    isolations: dict[Key, str]
    counts: tuple[int, int, int]

    def over(self, known: Known) -> Known | None:
        """What is known with these; None when rows are gone, so that all has to be read."""
        new = known
        if self.principals or self.cuts or self.isolations:
            keys = {(row[0], row[1]) for row in self.principals}
            new = Known(
                registered=known.registered | keys,
                cuts=known.cuts | self.cuts,
                isolations=known.isolations | self.isolations,
                states=_without_keys(known.states, keys),
                rotated=_without_keys(known.rotated, keys),
                named={name: who for name, who in known.named.items() if who not in keys},
            )
            _adopt(new, self.principals)
        found = (len(new.registered), len(new.cuts), len(new.isolations))
        return new if found == self.counts else None


Found: TypeAlias = tuple[Version, Known | Changed | None]
"""The version of a database, and what is in it: all, or what may be new; None: nothing is."""


def load(connection: Connection) -> Known:
    """All of it."""
    known = Known(cuts=_reasons(connection, CUTS), isolations=_reasons(connection, ISOLATIONS))
    _adopt(known, connection.execute(select(*_PRINCIPAL)))
    return known


def changes(connection: Connection, seen: Version) -> Found:
    """What is in the database since ``seen``.

    PostgreSQL looks for the rows of later transactions; that
    SQLite reads all again costs its one machine nothing but memory.
    """
    with connection.begin():
        version = data_version(connection)
        if version == seen:
            return version, None
        horizon = horizon_of(seen)
        if horizon is None:
            return version, load(connection)
        people, principals = _since(connection, PRINCIPALS, _PRINCIPAL, horizon)
        cuts, cut = _since(connection, CUTS, _reason_of(CUTS), horizon)
        isolations, isolated = _since(connection, ISOLATIONS, _reason_of(ISOLATIONS), horizon)
    counts = (principals, cut, isolated)
    return version, Changed(tuple(people), _said(cuts), _said(isolations), counts)


def write(engine: Engine, table: Table, key: Key, reason: str, at: float, by: str) -> None:
    """Keep one cut or isolation, durably; it replaces the one there was."""
    row = {"scope": key[0], "value": key[1], "reason": reason[:_WIDTH], "made_at": at}
    new = {"reason": row["reason"], "made_at": at, "made_by": by}
    with writing(engine).begin() as connection:
        putting = upsert(connection, table).values(row | new)
        connection.execute(
            putting.on_conflict_do_update(index_elements=["scope", "value"], set_=new)
        )


def erase(engine: Engine, table: Table, key: Key) -> bool:
    """Take one back, durably; False when there was none."""
    with writing(engine).begin() as connection:
        return connection.execute(_without(table, key)).rowcount == 1


def kept(engine: Engine) -> tuple[Kept, ...]:
    """All cuts and isolations, the newest first."""
    with engine.connect() as connection:
        found = [
            Kept(
                scope=row.scope,
                value=row.value,
                reason=row.reason,
                isolation=table is ISOLATIONS,
                made_at=row.made_at,
                by=row.made_by,
            )
            for table in (CUTS, ISOLATIONS)
            for row in connection.execute(select(table))
        ]
    return tuple(sorted(found, key=lambda one: -one.made_at))


def _reasons(connection: Connection, table: Table) -> dict[Key, str]:
    return _said(connection.execute(select(*_reason_of(table))))


def _reason_of(table: Table) -> tuple[Column[str], ...]:
    return table.c.scope, table.c.value, table.c.reason


def _said(rows: Iterable[Sequence[Any]]) -> dict[Key, str]:
    return {(scope, value): reason or UNSAID for scope, value, reason in rows}


def _adopt(known: Known, rows: Iterable[Sequence[Any]]) -> None:
    """Take principals over of whom nothing is known."""
    active = State.ACTIVE.value
    for kind, name, state, rotated_at, spiffe_id in rows:
        key = (kind, name)
        known.registered.add(key)
        if state != active:
            known.states[key] = why(State(state))
        if rotated_at:
            known.rotated[key] = rotated_at
        if spiffe_id:
            known.named[spiffe_id] = PrincipalKind(kind), name


def _without_keys(some: dict[Key, _Value], keys: set[Key]) -> dict[Key, _Value]:
    return {key: value for key, value in some.items() if key not in keys}


def _since(
    connection: Connection, table: Table, columns: Sequence[Column[Any]], horizon: str
) -> tuple[list[_Principal], int]:
    """The rows of transactions that had not ended at a horizon, and how many rows there are."""
    total = select(func.count().label("total")).select_from(table).subquery()
    new = since(table, horizon)
    query = select(total.c.total, *columns).select_from(total.outerjoin(table, new))
    rows = [tuple(row) for row in connection.execute(query)]
    return [row[1:] for row in rows if row[1] is not None], rows[0][0]


def _without(table: Table, key: Key) -> Delete:
    return delete(table).where(table.c.scope == key[0], table.c.value == key[1])
