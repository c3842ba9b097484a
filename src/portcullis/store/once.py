"""What may be used only once, at whichever gateway of the machine: ``core.ports.Once``, shared."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import structlog

from portcullis.core.ports import Clock
from portcullis.identity.once import CAPACITY, SHARE
from portcullis.store.volatile import Run, Volatile

log = structlog.get_logger(__name__)

_FORGET: Final = 8
"""Most expired keys that one call forgets."""
_ALL: Final = ""
"""Whose count is that of all keys."""
_SCHEMA: Final = """
CREATE TABLE since (at REAL NOT NULL);
CREATE TABLE spent (key BLOB PRIMARY KEY, until REAL NOT NULL, holder TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX spent_until ON spent (until);
CREATE TABLE held (holder TEXT PRIMARY KEY, keys INTEGER NOT NULL) WITHOUT ROWID;
"""
_EXPIRED: Final = """
DELETE FROM spent WHERE key IN (SELECT key FROM spent WHERE until <= ? ORDER BY until LIMIT ?)
RETURNING holder
"""
_COUNT: Final = (
    "INSERT INTO held VALUES (?, ?) ON CONFLICT DO UPDATE SET keys = keys + excluded.keys"
)


class SharedOnce:
    """Implements ``core.ports.Once`` for all processes that open the same file.

    As ``identity.once.LocalOnce``, but what is remembered, and since when, is the processes' own
    together: one that is started again while another goes on has forgotten nothing. A file that
    cannot be read or written, or is locked for too long, lets nobody in.
    """

    def __init__(self, path: Path, clock: Clock, *, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._failing = False
        self._file = Volatile(path, _SCHEMA)
        if self._file.fresh:
            with self._file.write() as run:
                run("INSERT INTO since VALUES (?)", (float(int(clock.now())),))
        self._since: float = self._file.read("SELECT at FROM since")[0][0]

    @property
    def since(self) -> float:
        """When this memory began."""
        return self._since

    def spend(self, key: bytes, until: float, holder: str = "") -> bool:
        """True the first time that ``key`` is seen, by any process, before its ``until``."""
        now = self._clock.now()
        if until <= now:
            return False
        try:
            with self._file.write() as run:
                self._forget(run, now)
                spent = self._room(run, holder) and self._spend(run, key, until, holder)
        except sqlite3.Error as error:
            if not self._failing:  # once, not with every request
                log.error("once_failed", error=str(error))  # noqa: TRY400 - it says enough
            self._failing = True
            return False
        self._failing = False
        return spent

    async def spent(self, key: bytes, until: float, holder: str = "") -> bool:
        """The same: the file answers in microseconds."""
        return self.spend(key, until, holder)

    def close(self) -> None:
        """Use it no more."""
        self._file.close()

    def _room(self, run: Run, holder: str) -> bool:
        query = "SELECT holder, keys FROM held WHERE holder IN (?, ?)"
        held = dict(run(query, (_ALL, holder)).fetchall())
        full = held.get(_ALL, 0) >= self._capacity
        return not full and (not holder or held.get(holder, 0) < self._capacity // SHARE)

    @staticmethod
    def _spend(run: Run, key: bytes, until: float, holder: str) -> bool:
        done = run("INSERT OR IGNORE INTO spent VALUES (?, ?, ?)", (key, until, holder))
        if done.rowcount != 1:
            return False
        for name in {_ALL, holder}:
            run(_COUNT, (name, 1))
        return True

    @staticmethod
    def _forget(run: Run, now: float) -> None:
        for (holder,) in run(_EXPIRED, (now, _FORGET)).fetchall():
            for name in {_ALL, holder}:
                run(_COUNT, (name, -1))
            if holder:
                run("DELETE FROM held WHERE holder = ? AND keys <= 0", (holder,))
