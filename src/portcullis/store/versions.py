"""Counting the changes of a table, for whoever keeps a copy of it in memory."""

from __future__ import annotations

from sqlalchemy import Connection, Table, insert, select, update

from portcullis.store.tables import VERSIONS


def version(connection: Connection, table: Table) -> int:
    """A number that grows with every change of the table."""
    query = select(VERSIONS.c.value).where(VERSIONS.c.name == table.name)
    return connection.execute(query).scalar_one_or_none() or 0


def count(connection: Connection, table: Table) -> None:
    """Count a change of the table, in the transaction that makes it."""
    counted = (
        update(VERSIONS).where(VERSIONS.c.name == table.name).values(value=VERSIONS.c.value + 1)
    )
    if connection.execute(counted).rowcount == 0:
        connection.execute(insert(VERSIONS).values(name=table.name, value=1))
