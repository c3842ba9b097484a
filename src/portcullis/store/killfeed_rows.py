"""The kill feed's tables: who is cut off, isolated, not active or rotated."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from sqlalchemy import Connection, Delete, Engine, Table, delete, select

from portcullis.core.feed import Kept
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind
from portcullis.store.dialect import Version, data_version, upsert, writing
from portcullis.store.tables import CUTS, ISOLATIONS, PRINCIPALS

Key: TypeAlias = tuple[str, str]
"""Scope and value."""

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


def load(connection: Connection) -> Known:
    """All of it."""
    row = PRINCIPALS.c
    query = select(row.kind, row.id, row.state, row.rotated_at, row.spiffe_id)
    known = Known(cuts=_reasons(connection, CUTS), isolations=_reasons(connection, ISOLATIONS))
    active = State.ACTIVE.value
    for kind, name, state, rotated_at, spiffe_id in connection.execute(query):
        key = (kind, name)
        known.registered.add(key)
        if state != active:
            known.states[key] = why(State(state))
        if rotated_at:
            known.rotated[key] = rotated_at
        if spiffe_id:
            known.named[spiffe_id] = PrincipalKind(kind), name
    return known


def changes(connection: Connection, seen: Version) -> tuple[Version, Known | None]:
    """The database's version and, unless it is ``seen``, what is in it."""
    with connection.begin():
        version = data_version(connection)
        return version, None if version == seen else load(connection)


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
    rows = connection.execute(select(table.c.scope, table.c.value, table.c.reason))
    return {(scope, value): reason or UNSAID for scope, value, reason in rows}


def _without(table: Table, key: Key) -> Delete:
    return delete(table).where(table.c.scope == key[0], table.c.value == key[1])
