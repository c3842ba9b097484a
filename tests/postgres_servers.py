"""A real PostgreSQL server of the test run's own, on a Unix socket, and databases in it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from portcullis.store.engine import open_store

_PLACES = (*Path("/usr/lib/postgresql").glob("*/bin"),)
USER = "postgres"
"""Who the server runs as where the tests run as root, whom it refuses: Debian's has made him."""
_SMALL = ("-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "listen_addresses=")
_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off")
_NONE: Mapping[str, bytes] = {}

_SCHEMA = (
    "SELECT array_agg(said ORDER BY said) FROM (SELECT table_name || '.' || column_name AS said"
    " FROM information_schema.columns WHERE table_schema = 'public'"
    " UNION ALL SELECT tgname::text FROM pg_trigger UNION ALL"
    " SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace) AS all_of_it"
)
_EMPTY = """
DO $$ DECLARE one text; BEGIN
    FOR one IN SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP EXECUTE format('DELETE FROM %I', one); END LOOP;
END $$
"""


def programs() -> Path | None:
    """Where the server's programs are, None when it is not installed."""
    found = [place for place in sorted(_PLACES, reverse=True) if (place / "initdb").exists()]
    on_path = shutil.which("initdb")
    if found or on_path is None:
        return found[0] if found else None
    return Path(on_path).resolve().parent


needs_postgresql = pytest.mark.skipif(
    programs() is None, reason="needs Debian's postgresql: see `make packages`"
)


class PostgresServer:
    """A server in a folder of its own; its databases are made from one that was migrated once."""

    def __init__(self, folder: Path, *options: str, port: int = 5432) -> None:
        self.folder = folder
        self.port = port
        self._options = options
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self._data = folder / "data"
        self._free: list[str] = []
        self._schema: object = None

    def start(self) -> None:
        """Serve, once it is ready; again after a stop."""
        found, port = programs(), self.port
        assert found is not None
        if not self._data.exists():
            self._run(
                *(found / "initdb", "-D", self._data, "-U", USER, "-A", "trust", "-N"),
                *("-E", "UTF8", "--locale=C", "--no-instructions"),
            )
        self._process = subprocess.Popen(
            [
                found / "postgres",
                "-D",
                self._data,
                "-k",
                self.folder,
                "-p",
                str(port),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "server.log").open("ab"),
            **_as_user(),
        )
        deadline = time.monotonic() + 60
        ready = [found / "pg_isready", "-q", "-h", self.folder, "-p", str(port), "-U", USER]
        while subprocess.run(ready, check=False, timeout=30).returncode:
            assert self._process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """End it: in order, or in the middle of what it does."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()  # its children see that it is gone, and end
        else:
            process.send_signal(2)  # SIGINT: fast shutdown
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)

    def url(self, database: str, user: str = USER) -> str:
        """The address of a database."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def make(self, template: str = "template0") -> str:
        """The name of a new database, a copy of ``template``."""
        name = f"d{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    @functools.cached_property
    def migrated(self) -> str:
        """The name of a database that has all tables and no row."""
        name = self.make()
        open_store(self.url(name)).dispose()
        self._schema = self.sql(_SCHEMA, name)
        return name

    @contextlib.contextmanager
    def new(self) -> Iterator[str]:
        """The address of a database with all tables and no row, for as long as the block lasts.

        Making one takes hundreds of files: one whose tables are as they were is used again.
        """
        template = self.migrated
        name = self._free.pop() if self._free else self.make(template)
        try:
            yield self.url(name)
        finally:
            if self._process is not None:
                self._ended(name)

    def _ended(self, name: str) -> None:
        """Empty a database for whoever is next, or drop it."""
        self.end_connections(name)
        if self.sql(_SCHEMA, name) == self._schema:
            self.sql(_EMPTY, name)
            self._free.append(name)
        else:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def end_connections(self, name: str) -> None:
        """End whoever is connected to a database, and wait until they are gone."""
        deadline = time.monotonic() + 30
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
        while self.sql(f"{end}'{name}'"):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def sql(self, statement: str, database: str = USER) -> list[tuple[object, ...]]:
        """What a statement finds, as the server's own user."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(one) for one in command],
            check=False,
            capture_output=True,
            timeout=120,
            **_as_user(),
        )
        assert done.returncode == 0, done.stderr


def _as_user() -> dict[str, object]:
    """Arguments by which a program runs as somebody whom the server accepts."""
    if os.geteuid() != 0:
        return {"cwd": "/"}
    who = pwd.getpwnam(USER)
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": [], "cwd": "/"}


@contextlib.contextmanager
def postgres_server(
    *options: str, durable: bool = False, port: int = 5432, files: Mapping[str, bytes] = _NONE
) -> Iterator[PostgresServer]:
    """A server, for as long as the block lasts; ``durable`` as one that is not for tests.

    ``files`` are in its folder, and its own; ``port`` is that of its socket, and of an address
    where ``options`` say that it listens at one.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) and not durable else None  # noqa: S108 - a folder of our own in it
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=memory))  # a socket's path has 107 bytes
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    if os.geteuid() == 0:
        who = pwd.getpwnam(USER)
        for place in (folder, *folder.iterdir()):
            os.chown(place, who.pw_uid, who.pw_gid)
    server = PostgresServer(folder, *_SMALL, *(() if durable else _FAST), *options, port=port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
