"""Counting the changes of a table, for whoever keeps a copy of it in memory."""

from __future__ import annotations

from sqlalchemy import Connection, Table, case, select

from portcullis.store.dialect import upsert
from portcullis.store.tables import VERSIONS


def version(connection: Connection, table: Table) -> int:
    """A number that grows with every change of the table."""
    return reached(connection, table.name)


def count(connection: Connection, table: Table) -> None:
    """Count a change of the table, in the transaction that makes it."""
    advance(connection, table.name)


def reached(connection: Connection, name: str) -> int:
    """What the counter of this name stands at."""
    query = select(VERSIONS.c.value).where(VERSIONS.c.name == name)
    return connection.execute(query).scalar_one_or_none() or 0


def advance(connection: Connection, name: str, least: int = 1) -> None:
    """Count one more under a name: at least ``least``."""
    first = upsert(connection, VERSIONS).values(name=name, value=least)
    more = {"value": case((VERSIONS.c.value < least, least), else_=VERSIONS.c.value + 1)}
    connection.execute(first.on_conflict_do_update(index_elements=["name"], set_=more))
