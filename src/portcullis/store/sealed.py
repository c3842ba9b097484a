"""The columns that hold sealed values, and bringing them under the newest key.

A value is sealed for its own row: the purpose names the column and the row's key.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Engine, Select, select, update

from portcullis.core.ports import Sealer
from portcullis.store.dialect import writing
from portcullis.store.tables import (
    APPROVALS,
    MEMORY_LABELS,
    OPERATOR_CREDENTIALS,
    SESSION_LABELS,
    SESSIONS,
)
from portcullis.store.tables_grants import CONNECT_LINKS
from portcullis.store.tables_hosts import GATEWAYS, SHARED_FILES
from portcullis.store.tables_releases import POLICY_TEXTS


class SealedColumn(NamedTuple):
    """A column of sealed values; ``purpose`` is that of its rows, before a colon and the key."""

    key: Column[Any]
    value: Column[Any]
    purpose: str


COLUMNS: Final = (
    SealedColumn(SESSIONS.c.id, SESSIONS.c.document, "sessions"),
    SealedColumn(OPERATOR_CREDENTIALS.c.name, OPERATOR_CREDENTIALS.c.totp, "operators"),
    SealedColumn(SESSION_LABELS.c.session, SESSION_LABELS.c.document, "session_labels"),
    SealedColumn(MEMORY_LABELS.c.id, MEMORY_LABELS.c.document, "memory_labels"),
    SealedColumn(APPROVALS.c.id, APPROVALS.c.sealed, "approvals"),
    SealedColumn(CONNECT_LINKS.c.digest, CONNECT_LINKS.c.document, "connect_links"),
    SealedColumn(POLICY_TEXTS.c.number, POLICY_TEXTS.c.sealed, "policy_texts"),
    SealedColumn(SHARED_FILES.c.name, SHARED_FILES.c.sealed, "shared_files"),
    SealedColumn(GATEWAYS.c.name, GATEWAYS.c.sealed, "gateways"),
)
"""All of them; `portcullis keys` counts and re-seals what is listed here."""


def session_purpose(session_id: str) -> str:
    """What a session's document is sealed for."""
    return f"sessions:{session_id}"


def count(engine: Engine, sealer: Sealer) -> tuple[int, int]:
    """How many values are sealed, and how many of them under an older version."""
    values = [value for column in COLUMNS for _, value in _rows(engine, column)]
    return len(values), sum(not sealer.current(value) for value in values)


def reseal(engine: Engine, sealer: Sealer) -> None:
    """Bring every value under the newest version, each column in one transaction.

    Raises Problem PC7010, having changed nothing of the column, for a value that does not open.
    """
    for column in COLUMNS:
        with writing(engine).begin() as connection:
            for key, value in connection.execute(_query(column)).all():
                if sealer.current(value):
                    continue
                purpose = f"{column.purpose}:{key}"
                sealed = sealer.seal(sealer.open(value, purpose), purpose)
                changed = update(column.value.table).values({column.value.name: sealed})
                connection.execute(changed.where(column.key == key, column.value == value))
    forget_plain(engine)


def forget_plain(engine: Engine) -> None:
    """Empty SQLite's write-ahead log, which may still hold values as they were; at best."""
    if engine.dialect.name == "sqlite":
        with contextlib.closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def _rows(engine: Engine, column: SealedColumn) -> list[tuple[str, bytes]]:
    with engine.connect() as connection:
        return [(key, value) for key, value in connection.execute(_query(column))]


def _query(column: SealedColumn) -> Select[tuple[Any, Any]]:
    return select(column.key, column.value).where(column.value.is_not(None))
