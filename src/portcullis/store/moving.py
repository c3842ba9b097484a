"""All records from one database to another, counted and compared before anything counts there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, Integer, Row, Table, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.store.dialect import POSTGRESQL, storable, unhurried, writing
from portcullis.store.postgresql import reason
from portcullis.store.schema import METADATA

_BATCH: Final = 500
_MADE_AGAIN: Final = ("audit_", "review")
"""Tables that are made from the logs: a name in them that cannot be stored is stored as it can."""
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class Carried(msgspec.Struct, frozen=True):
    """A table that was moved: its rows, and the SHA-256 of all of them by their keys, in hex."""

    table: str
    rows: int
    digest: str


def occupied(engine: Engine) -> tuple[str, ...]:
    """The tables that hold anything."""
    with engine.connect() as connection:
        return tuple(
            table.name
            for table in METADATA.sorted_tables
            if connection.execute(select(text("1")).select_from(table).limit(1)).first()
        )


def move(
    source: Engine,
    target: Engine,
    advance: Callable[[int], None] = lambda _: None,
    *,
    alone: bool = True,
) -> tuple[Carried, ...]:
    """Copy every record into the tables of ``target``, which are empty; all or nothing.

    Nobody can write to the source meanwhile or, if not ``alone``, it is copied as it was at one
    moment. What the target then has is read again and compared, row by row, before it is
    committed. ``advance`` is told of rows. Raises Problem PC7001 when the target holds something or
    does not take a value, PC6005 when it has another than it was given.
    """
    table = METADATA.sorted_tables[0]
    try:
        reading = writing(source) if alone else source
        with reading.begin() as old, writing(target).begin() as new:
            for connection in (old, new):  # each waits while the other's rows are read
                unhurried(connection)
            moved = []
            for table in METADATA.sorted_tables:
                if new.execute(select(text("1")).select_from(table).limit(1)).first():
                    raise Problem("PC7001", f"the target holds records already, in {table.name}")
                given = _put(old, new, table, advance)
                found = _summed(table, _rows(new, table))
                if found != given:
                    detail = f"{table.name}: {found.rows} rows arrived of {given.rows}, or others"
                    raise Problem("PC6005", detail, hint="Nothing was moved. Report this.")
                _number_on(new, table)
                moved.append(given)
            return tuple(moved)
    except SQLAlchemyError as error:
        raise Problem("PC7001", f"{table.name} cannot be moved: {reason(error)}") from None


def summed(engine: Engine) -> tuple[Carried, ...]:
    """What every table holds, as ``move`` says it. Raises Problem PC7001."""
    try:
        with engine.begin() as connection:
            tables = METADATA.sorted_tables
            return tuple(_summed(table, _rows(connection, table)) for table in tables)
    except SQLAlchemyError as error:
        raise Problem("PC7001", f"the records cannot be read: {reason(error)}") from None


def _put(old: Connection, new: Connection, table: Table, advance: Callable[[int], None]) -> Carried:
    """Copy a table; what was given."""
    batch: list[dict[str, Any]] = []

    def copied() -> Iterator[tuple[Any, ...]]:
        for row in _rows(old, table):
            values = _storable(table, row)
            batch.append(dict(zip(table.c.keys(), values, strict=True)))
            if len(batch) == _BATCH:
                flush()
            yield values

    def flush() -> None:
        if batch:
            new.execute(insert(table), batch)
            advance(len(batch))
            batch.clear()

    summed = _summed(table, copied())
    flush()
    return summed


def _rows(connection: Connection, table: Table) -> Iterator[Row[Any]]:
    """In the order of their keys, which is that of bytes in both databases."""
    query = select(table).order_by(*table.primary_key.columns)
    query = query.execution_options(stream_results=True, yield_per=_BATCH)
    with connection.execute(query) as found:
        yield from found


def _summed(table: Table, rows: Iterator[Any]) -> Carried:
    digest, count = hashlib.sha256(), 0
    for row in rows:
        said = _encode(tuple(row))
        digest.update(len(said).to_bytes(8) + said)
        count += 1
    return Carried(str(table.name), count, digest.hexdigest())


def _storable(table: Table, row: Row[Any]) -> tuple[Any, ...]:
    if not table.name.startswith(_MADE_AGAIN):
        return tuple(row)
    return tuple(storable(value) if isinstance(value, str) else value for value in row)


def _number_on(connection: Connection, table: Table) -> None:
    """Have the next number that the database gives be beyond those that there are."""
    columns = [*table.primary_key.columns]
    if connection.dialect.name != POSTGRESQL or len(columns) != 1:
        return
    column = columns[0]
    if isinstance(column.type, Integer):
        name = func.pg_get_serial_sequence(table.name, column.name)
        most = select(func.max(column)).scalar_subquery()
        connection.execute(select(func.setval(name, most)).where(most.is_not(None)))
