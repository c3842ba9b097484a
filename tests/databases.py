"""New databases for tests that are not about making one: copies of one that was migrated once."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import Connection, Engine, event, inspect

from portcullis.store.dialect import writing
from portcullis.store.engine import open_sqlite, open_store
from postgres_servers import PostgresServer, needs_postgresql

KINDS = ["sqlite", pytest.param("postgresql", marks=needs_postgresql)]
"""What the tests of stores are parametrized by."""

_REFUSING = {
    "sqlite": (
        "CREATE TRIGGER refuse BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END",
    ),
    "postgresql": (
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'no' USING COLUMN = 'no'; END $$""",
        "CREATE TRIGGER refuse BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
}


class Database(NamedTuple):
    """A database of a test's own. ``place`` is a file, or an address of PostgreSQL."""

    place: Path | str

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return "sqlite" if isinstance(self.place, Path) else "postgresql"

    @classmethod
    @contextlib.contextmanager
    def of(cls, request: pytest.FixtureRequest, folder: Path) -> Iterator[Database]:
        """A new one of the kind that a fixture has as its parameter, for its test."""
        if request.param == "sqlite":
            path = folder / "portcullis.db"
            new_database(path).dispose()
            yield cls(path)
            return
        server: PostgresServer = request.getfixturevalue("postgres")
        with server.new() as url:
            yield cls(url)

    def open(self) -> Engine:
        """It, as another process would open it."""
        return open_store(self.place)


def changed(engine: Engine, *statements: str) -> None:
    """Say something to a database behind the back of its stores."""
    with writing(engine).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def refuse(engine: Engine, table: str, verb: str = "INSERT") -> None:
    """Have the database refuse to write into a table, saying no."""
    said = _REFUSING[engine.dialect.name]
    changed(engine, *(one.format(table=table, verb=verb) for one in said))


def allow(engine: Engine, table: str) -> None:
    """Have it write again."""
    if engine.dialect.name == "sqlite":
        changed(engine, "DROP TRIGGER refuse")
    else:
        changed(engine, f"DROP TRIGGER refuse ON {table}", "DROP FUNCTION refuse")


@contextlib.contextmanager
def locked(engine: Engine, other: Engine, table: str) -> Iterator[Callable[[], None]]:
    """Nobody but ``other`` can write to a table meanwhile; ``engine`` does not wait for it.

    What is given lets it go before the block ends.
    """
    with contextlib.ExitStack() as stack:
        if engine.dialect.name == "sqlite":
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        else:
            event.listen(engine, "begin", _impatient)
            stack.callback(event.remove, engine, "begin", _impatient)
        with holding(other, table) as let_go:
            yield let_go


@contextlib.contextmanager
def holding(engine: Engine, table: str) -> Iterator[Callable[[], None]]:
    """Nobody else can write to a table meanwhile; whoever tries waits."""
    with writing(engine).connect() as connection:
        connection.begin()
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield connection.rollback


def _impatient(connection: Connection) -> None:
    connection.exec_driver_sql("SET LOCAL lock_timeout = 50")


def stored(engine: Engine) -> bytes:
    """All that lies in a database: its files' bytes, or what a server shows of its rows."""
    if engine.dialect.name == "sqlite":
        path = Path(str(engine.url.database))
        return b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))
    with engine.connect() as connection:
        return b"".join(
            value if isinstance(value, bytes) else str(value).encode()
            for name in inspect(connection).get_table_names()
            for row in connection.exec_driver_sql(f"SELECT * FROM {name}")  # noqa: S608 - ours
            for value in row
        )


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "portcullis.db")
        open_sqlite(path).dispose()
        return path.read_bytes()


_GIVEN: list[tuple[PostgresServer, contextlib.ExitStack]] = []
"""Who gives databases now, and what ends them; of a test before those of its module."""


@pytest.fixture(scope="module", params=KINDS, autouse=True)
def each_kind(request):
    """Whoever imports this has his tests run once with each kind of ``new_database``."""
    with _giving(request):
        yield


@pytest.fixture(autouse=True)
def each_test(request, each_kind):
    """Import it beside: what a test was given ends with it. What is of its module asks for
    ``each_kind`` itself."""
    del each_kind
    with _giving(request) if _GIVEN else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _giving(request: pytest.FixtureRequest) -> Iterator[None]:
    if getattr(request, "param", "") == "sqlite":
        yield
        return
    with contextlib.ExitStack() as stack:
        _GIVEN.append((request.getfixturevalue("postgres"), stack))
        stack.callback(_GIVEN.pop)
        yield


def place_database(path: Path) -> None:
    """An empty database at ``path``, which is free, as ``open_sqlite`` makes one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(_migrated())


def new_database(path: Path) -> Engine:
    """An empty database at ``path``, which is free, as ``open_sqlite`` makes and opens it.

    It is one of PostgreSQL where ``each_kind`` says so; ``path`` is then a file with its address.
    """
    if _GIVEN:
        server, stack = _GIVEN[-1]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(stack.enter_context(server.new()))
    else:
        place_database(path)
    return opened(path)


def opened(path: Path) -> Engine:
    """The same database again."""
    return open_store(path.read_text()) if _GIVEN else open_sqlite(path)
