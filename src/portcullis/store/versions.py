"""Counting the changes of a table, for whoever keeps a copy of it in memory."""

from __future__ import annotations

from sqlalchemy import Connection, Table, select

from portcullis.store.dialect import upsert
from portcullis.store.tables import VERSIONS


def version(connection: Connection, table: Table) -> int:
    """A number that grows with every change of the table."""
    query = select(VERSIONS.c.value).where(VERSIONS.c.name == table.name)
    return connection.execute(query).scalar_one_or_none() or 0


def count(connection: Connection, table: Table) -> None:
    """Count a change of the table, in the transaction that makes it."""
    first = upsert(connection, VERSIONS).values(name=table.name, value=1)
    more = {"value": VERSIONS.c.value + 1}
    connection.execute(first.on_conflict_do_update(index_elements=["name"], set_=more))
