"""Opening the record store: SQLite in WAL mode, or PostgreSQL; migrated to the newest schema."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from portcullis.core.errors import Problem
from portcullis.store import dialect, postgresql
from portcullis.store.tables import READABLE, REVISION

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",  # a write that returned survives a power cut
    "foreign_keys = ON",
    "busy_timeout = 5000",
    "secure_delete = ON",  # a closed session's prompt does not stay in free pages
)

_VERSIONS = "alembic_version"
"""Where the version of a schema stands."""
_PATIENCE = ("SET LOCAL lock_timeout = '300s'", "SET LOCAL statement_timeout = 0")
"""A migration is waited for, and may take its time."""


def open_sqlite(path: Path) -> Engine:
    """The database in the file ``path``, created (0600) and migrated as needed.

    Raises Problem PC7001 when the file is open to other users, is not a database of ours, or is
    of a newer version, unless that says that programs as old as this one may use it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # opening an existing one would drop its locks
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        mode = stat.S_IMODE(path.stat().st_mode)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Problem("PC7001", f"cannot open {path}: {error.strerror}") from None
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", dialect.begun)
    try:
        if mode & 0o077:
            hint = f"Run `chmod go-rwx {path}`."
            raise Problem("PC7001", "the database is open to other users", hint=hint)
        fcntl.flock(lock, fcntl.LOCK_EX)  # SQLite does not wait while another turns WAL on
        if not _usable(engine):
            migrate(engine)
    except DatabaseError:
        engine.dispose()
        raise Problem("PC7001", f"{path} is not a database, or is in use") from None
    except Problem as problem:
        engine.dispose()
        raise Problem("PC7001", f"{path}: {problem.detail}", hint=problem.hint) from None
    finally:
        os.close(lock)
    return engine


def open_store(place: Path | str, *, pool: int = postgresql.POOL) -> Engine:
    """The database in a file, or that of an address of PostgreSQL with so many connections.

    It is migrated as needed. Raises Problem PC7001 as ``open_sqlite`` does, and for a server that
    is not there or not fit (``postgresql.check``).
    """
    if isinstance(place, Path):
        return open_sqlite(place)
    engine = postgresql.connect(place, pool=pool)
    try:
        postgresql.check(engine)
        if not _usable(engine):
            migrate(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        raise Problem("PC7001", f"store: {postgresql.reason(error)}") from None
    except Problem:
        engine.dispose()
        raise
    return engine


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the schema to its newest version, in one transaction; a second process waits.

    An older ``revision`` brings it back to that. Raises Problem PC7001 for a database of a version
    that we do not know.
    """
    from alembic import command  # noqa: PLC0415 - slow to import and rarely needed
    from alembic.config import Config  # noqa: PLC0415 - the same
    from alembic.util.exc import CommandError  # noqa: PLC0415 - the same

    config = Config()
    config.set_main_option("script_location", "portcullis.store:migrations")
    with dialect.writing(engine).begin() as connection:
        if connection.dialect.name == dialect.POSTGRESQL:
            for setting in _PATIENCE:
                connection.exec_driver_sql(setting)
        dialect.alone(connection, "migrations")
        config.attributes["connection"] = connection
        try:
            if revision == "head":
                command.upgrade(config, revision)
            else:
                command.downgrade(config, revision)
        except CommandError:
            raise Problem("PC7001", "the database is of another, newer version") from None
        if revision == "head":
            dialect.say_readable(connection, _VERSIONS, int(READABLE))


def _usable(engine: Engine) -> bool:
    """Whether the schema is ours, or that of a newer program which may run beside this one."""
    found = _revision(engine)
    if found is None or found <= REVISION:
        return found == REVISION
    with engine.connect() as connection:
        return dialect.readable(connection, _VERSIONS) <= int(REVISION)


def _revision(engine: Engine) -> str | None:
    """The version of the schema in the database, or None in a new one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(_VERSIONS):
            return None
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        revision: str | None = found.scalar_one_or_none()
        return revision


def _prepare(connection: Any, entry: ConnectionPoolEntry) -> None:
    del entry
    connection.isolation_level = None  # the driver must not begin or commit by itself
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
