"""A SQLite file of counts, written by one thread: what waits together is one transaction.

It is no part of the records: it has no history to keep, and its writers must not wait for theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from portcullis.core.errors import Problem

VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS counts (
        key TEXT PRIMARY KEY, kind TEXT NOT NULL, value INTEGER NOT NULL, ends_at REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS counts_ends_at ON counts (ends_at)",
    """CREATE TABLE IF NOT EXISTS places (
        key TEXT NOT NULL, reservation TEXT NOT NULL, until REAL NOT NULL,
        PRIMARY KEY (key, reservation)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS reservations (
        id TEXT PRIMARY KEY, until REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS reservations_until ON reservations (until)",
)
_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",  # what was reserved survives a power cut
    "secure_delete = ON",
)
_BATCH: Final = 256

_T = TypeVar("_T")
_Work: TypeAlias = Callable[[sqlite3.Connection], Any]

log = structlog.get_logger(__name__)


class CountFile:
    """The file, created (0600) as needed. Use it from one event loop.

    Raises Problem PC7001 when it is open to other users, or is no file of ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[tuple[_Work, asyncio.Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            mode = stat.S_IMODE(path.stat().st_mode)
            self._turn = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Problem("PC7001", f"cannot open {path}: {error.strerror}") from None
        try:
            if mode & 0o077:
                hint = f"Run `chmod go-rwx {path}`."
                raise Problem("PC7001", "the counts are open to other users", hint=hint)
            with self._locked():
                self._db = self._open()
        except BaseException:
            os.close(self._turn)
            raise
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="counts", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do ``work`` within a transaction, and return when it is durable.

        Raises Problem PC3073 when it is not; then nothing of it happened.
        """
        return await self.enqueue(work)

    def enqueue(self, work: Callable[[sqlite3.Connection], _T]) -> asyncio.Future[_T]:
        """The same, begun: in the order in which it was asked for."""
        self._loop = loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        if self._closed:
            future.set_exception(_uncounted())
        else:
            self._jobs.put((work, future))
        return future

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Before anything else: read what is there. Blocks."""
        try:
            return work(self._db)
        except sqlite3.Error:
            raise Problem("PC7001", f"{self._path} is no file of counts") from None

    async def close(self) -> None:
        """Do what waits, and end."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._db.close()
        os.close(self._turn)

    @contextlib.contextmanager
    def _locked(self) -> Any:
        """Our turn among all processes: who waits for SQLite's own lock sleeps, and too long."""
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _open(self) -> sqlite3.Connection:
        try:
            made = sqlite3.connect(
                self._path, isolation_level=None, timeout=5, check_same_thread=False
            )
            for pragma in _PRAGMAS:
                made.execute(f"PRAGMA {pragma}")
            version = made.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise Problem("PC7001", f"{self._path} is of another, newer version")
            for statement in _SCHEMA if version < VERSION else ():
                made.execute(statement)
            made.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error:
            raise Problem("PC7001", f"{self._path} is no file of counts, or is in use") from None
        return made

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            ending = False
            while len(jobs) < _BATCH and not ending:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                ending = more is None
                jobs += [] if more is None else [more]
            self._together(jobs)
            if ending:
                return

    def _together(self, jobs: list[tuple[_Work, asyncio.Future[Any]]]) -> None:
        results: list[Any] = []
        fault = False
        try:
            with self._locked():
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                    results = [work(self._db) for work, _ in jobs]
                    self._db.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                    raise
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing was counted
            log.warning("counts_not_written", fault=type(error).__name__)
            fault = True
        if self._loop is None or self._loop.is_closed():
            return
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(_told, jobs, None if fault else results)


def _told(jobs: list[tuple[_Work, asyncio.Future[Any]]], results: list[Any] | None) -> None:
    for index, (_, future) in enumerate(jobs):
        if future.done():
            continue
        if results is None:
            future.set_exception(_uncounted())
        else:
            future.set_result(results[index])


def _uncounted() -> Problem:
    return Problem("PC3073", "the file of counts cannot be read or written")
