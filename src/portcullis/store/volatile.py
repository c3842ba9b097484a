"""What the processes of one machine share for as long as any of them runs: small SQLite files.

Nothing in them outlives the last process that has them open: the first to open one makes it anew,
the last to close it takes it away. So nothing waits for a disk (``synchronous=OFF``), a crash of
the machine leaves nothing that would be believed, and a call takes tens of microseconds: it may be
made on an event loop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeAlias

from portcullis.core.errors import Problem
from portcullis.core.formats import FORMAT, read
from portcullis.identity.private import exclusive

WAIT_SECONDS: Final = 0.05
"""How long a write waits for another process's; one takes a thousandth of that."""
_AGAIN_SECONDS: Final = 0.00005
_PAGES: Final = 256
"""Pages of the write-ahead log that are carried over at once, by whoever wrote the last of them."""
_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = OFF",
    "secure_delete = ON",
    f"wal_autocheckpoint = {_PAGES}",
)

Run: TypeAlias = Callable[[str, Sequence[Any]], sqlite3.Cursor]
"""Executes one statement with its parameters."""


class Volatile:
    """One such file at ``path`` (0600), with the tables of ``schema``; for any threads.

    ``fresh`` says that nobody else had it open: then it is empty. Faults are ``sqlite3.Error``,
    another process's lock that lasts for ``WAIT_SECONDS`` among them. Raises Problem PC7001 when
    it cannot be opened, and PC7087 when a program that is too far from this one has made it.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._lock = Lock()
        with exclusive(path.parent):  # nobody else opens or closes it meanwhile
            try:
                self._users = os.open(_beside(path, ".users"), _FLAGS, 0o600)
                self.fresh = _alone(self._users)
                if self.fresh:
                    _remove(path)
                    os.close(os.open(path, _FLAGS | os.O_EXCL, 0o600))
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._connection = sqlite3.connect(
                    path, timeout=0, isolation_level=None, check_same_thread=False
                )
                for pragma in _PRAGMAS:
                    self._connection.execute(f"PRAGMA {pragma}")
                if self.fresh:
                    self._connection.executescript(f"PRAGMA user_version = {FORMAT}; {schema}")
                (made,) = self._connection.execute("PRAGMA user_version").fetchone()
            except (OSError, sqlite3.Error) as error:
                raise Problem("PC7001", f"{path} cannot be used: {error}") from None
        try:
            read(made, path.name)
        except Problem:
            self.close()
            raise

    def close(self) -> None:
        """Use it no more; whoever is the last takes the file away."""
        with exclusive(self._path.parent):
            with self._lock:
                self._connection.close()
            if _alone(self._users):
                _remove(self._path)
            os.close(self._users)

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of one query, as of now."""
        with self._lock:
            return self._patiently(statement, values).fetchall()

    @contextlib.contextmanager
    def write(self) -> Iterator[Run]:
        """One transaction, which nobody else reads or writes between; undone when it raises."""
        with self._lock:
            self._patiently("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def empty_log(self) -> None:
        """Have nothing that was deleted left in the write-ahead log; at best. Blocks a moment."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _patiently(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute it as soon as the lock is free; SQLite would sleep for whole milliseconds."""
        until = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return self._connection.execute(statement, values)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
                time.sleep(_AGAIN_SECONDS)


_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def _alone(users: int) -> bool:
    """Whether nobody else has the file open; see ``Volatile``."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        _beside(path, end).unlink(missing_ok=True)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
