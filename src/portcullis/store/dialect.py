"""What SQLite and PostgreSQL say differently, in one place: the stores say it one way.

A store reads through its engine, where every transaction sees the database as it was at one
moment, and writes through ``writing(engine, ...)``. In SQLite a writer is alone from its first
statement. In PostgreSQL each statement of a writer sees what was committed before it, so whoever
reads something to decide what it writes says beforehand what it is alone with: a name, for all
writers of that name (``writing``), a name and a key (``alone``), or a row (``with_for_update``,
which SQLite has no need of). See docs/decisions/036-records-in-postgresql.md.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Double, Engine, Integer, Table, TextClause, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"

Version: TypeAlias = int | str
"""What stands for all that is committed in a database."""
Insert: TypeAlias = sqlite.Insert | postgresql.Insert
"""An INSERT that may say what happens ON CONFLICT, in the same words for both."""

_READABLE: Final = "portcullis: readable since "
_WRITES: Final = "portcullis_immediate"
_ALONE: Final = "portcullis_alone"
_NOBODY: Final = -1
_UNSEEN: Final = text("SELECT pg_current_snapshot()::text")
_TAKE: Final = text("SELECT pg_advisory_xact_lock(:key)")
_KEEP: Final = text("SELECT pg_try_advisory_lock(:key)")
_TRY: Final = text("SELECT pg_try_advisory_xact_lock(:key)")


def writing(engine: Engine, name: str = "") -> Engine:
    """The same database for whoever writes.

    With a name, its transactions come one after the other, in whatever process: what one reads
    is still so when it commits. A transaction that waits for another for too long fails.
    """
    options: dict[str, Any] = {_WRITES: True, _ALONE: name}
    if engine.dialect.name == POSTGRESQL:
        options["isolation_level"] = "READ COMMITTED"
    return engine.execution_options(**options)


def asking(engine: Engine) -> Engine:
    """The same database for whoever asks it one thing at a time, with nothing before or behind."""
    if engine.dialect.name != POSTGRESQL:
        return engine
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def begun(connection: Connection) -> None:
    """Begin a transaction as its engine says; a listener for SQLAlchemy's event of that name."""
    options = connection.get_execution_options()
    if connection.dialect.name == SQLITE:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")
    elif options.get(_ALONE):
        alone(connection, options[_ALONE])


def alone(connection: Connection, name: str, key: str = "") -> None:
    """Be the only transaction with this name and key, waiting for another, until it ends."""
    if connection.dialect.name == POSTGRESQL:
        connection.execute(_TAKE, {"key": _number(name, key)})


def free(connection: Connection, name: str) -> bool:
    """The same without waiting; False when another transaction has it, which does the work."""
    if connection.dialect.name != POSTGRESQL:
        return True
    taken: bool = connection.execute(_TRY, {"key": _number(name, "")}).scalar_one()
    return taken


def kept(connection: Connection, name: str) -> bool:
    """The same of PostgreSQL for as long as the connection is open."""
    taken: bool = connection.execute(_KEEP, {"key": _number("process", name)}).scalar_one()
    return taken


def unhurried(connection: Connection) -> None:
    """Have this transaction take its time, and rest while other work is done between statements."""
    if connection.dialect.name == POSTGRESQL:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {name} = 0")


def upsert(connection: Connection, table: Table) -> Insert:
    """An INSERT into a table that may say ``on_conflict_do_update`` or ``..._do_nothing``."""
    if connection.dialect.name == POSTGRESQL:
        return postgresql.insert(table)
    return sqlite.insert(table)


def data_version(connection: Connection) -> Version:
    """Something else after every commit of anybody else's, and perhaps without one.

    Two that are the same mean that nothing was committed between them. In a transaction it stands
    for what that sees. In SQLite it is ``data_version``, in PostgreSQL the snapshot: which
    transactions had ended.
    """
    if connection.dialect.name == POSTGRESQL:
        seen: str = connection.execute(_UNSEEN).scalar_one()
        return seen
    version: int = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
    return version


def horizon_of(version: Version) -> str | None:
    """The transaction before which all had ended when a version was read; None: it is not known.

    Each row that is there now and was not then is of that transaction or a later one.
    """
    return version.partition(":")[0] if isinstance(version, str) else None


def since(table: Table, horizon: str) -> TextClause:
    """Whether PostgreSQL's row is of the transaction ``horizon`` or a later one.

    Numbers of transactions begin again after 2**32; how long ago each was does not.
    """
    then = text(f"age({table.name}.xmin) <= age(CAST(CAST(:horizon AS text) AS xid))")
    return then.bindparams(horizon=str(int(horizon) % 2**32))


def unseen() -> Version:
    """A version that no database has."""
    return _NOBODY


def say_readable(connection: Connection, table: str, since: int) -> None:
    """Say of a schema, at one of its tables, the last migration that programs have to know."""
    if connection.dialect.name == POSTGRESQL:
        connection.exec_driver_sql(f"COMMENT ON TABLE {table} IS '{_READABLE}{since}'")
    else:
        connection.exec_driver_sql(f"PRAGMA user_version = {since}")


def readable(connection: Connection, table: str) -> float:
    """What ``say_readable`` said; infinity where nothing was said."""
    if connection.dialect.name == POSTGRESQL:
        asked = text("SELECT obj_description(CAST(:name AS regclass), 'pg_class')")
        said: str = connection.execute(asked, {"name": table}).scalar_one() or ""
        since = said.removeprefix(_READABLE)
        return int(since) if said.startswith(_READABLE) and since.isdecimal() else math.inf
    found: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    return found or math.inf


def storable(value: str) -> str:
    """Text as any database keeps it: PostgreSQL has no NUL, and none has half a surrogate pair."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class whole(FunctionElement[int]):  # noqa: N801 - it is written as the functions of SQL are
    """A number of 0 or more without what is behind its point: neither rounds it."""

    type = Integer()
    inherit_cache = True
    name = "whole"


@compiles(whole, POSTGRESQL)
def _floored(element: whole, compiler: SQLCompiler, **more: Any) -> str:
    return f"CAST(floor({compiler.process(element.clauses, **more)}) AS INTEGER)"


@compiles(whole)
def _cut(element: whole, compiler: SQLCompiler, **more: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **more)} AS INTEGER)"


class moment(FunctionElement[float]):  # noqa: N801 - the same
    """The time of the database's clock, in seconds since the epoch, when it gets there."""

    type = Double()
    inherit_cache = True
    name = "moment"


@compiles(moment, POSTGRESQL)
def _on_server(element: moment, compiler: SQLCompiler, **more: Any) -> str:
    del element, compiler, more
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@compiles(moment)
def _here(element: moment, compiler: SQLCompiler, **more: Any) -> str:
    del element, compiler, more
    return "((julianday('now') - 2440587.5) * 86400.0)"


def _number(name: str, key: str) -> int:
    """What PostgreSQL calls a lock: 64 bits."""
    said = f"portcullis\0{name}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), signed=True)
