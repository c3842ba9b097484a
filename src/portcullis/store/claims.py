"""Which gateway keeps what has to stay in one place: ``core.relay_ports.Claims``, shared."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from portcullis.core.errors import Problem
from portcullis.store.volatile import Volatile

log = structlog.get_logger(__name__)

MOST: Final = 65_536
"""Claims; the oldest go first."""
_SCHEMA: Final = """
CREATE TABLE claims (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, gateway TEXT NOT NULL
);
"""
_OWNER: Final = "SELECT gateway FROM claims WHERE key = ?"
_NEW: Final = "INSERT OR IGNORE INTO claims (key, gateway) VALUES (?, ?)"
_TAKEN: Final = "UPDATE claims SET gateway = ? WHERE key = ? AND gateway = ?"


class SharedClaims:
    """Implements ``core.relay_ports.Claims`` for all processes that open the same file.

    What an earlier process called ``gateway`` kept is gone with it.
    """

    def __init__(self, path: Path, gateway: str) -> None:
        self._file = Volatile(path, _SCHEMA)
        with _usable(), self._file.write() as run:
            run("DELETE FROM claims WHERE gateway = ?", (gateway,))

    async def claim(self, key: str, gateway: str) -> str:
        """See Claims."""
        with _usable():
            found = self._file.read(_OWNER, (key,))
            if found:
                return str(found[0][0])
            with self._file.write() as run:
                made = run(_NEW, (key, gateway))
                run("DELETE FROM claims WHERE number <= ?", ((made.lastrowid or 0) - MOST,))
                return str(run(_OWNER, (key,)).fetchone()[0])

    async def take(self, key: str, gateway: str, gone: str) -> str:
        """See Claims."""
        with _usable(), self._file.write() as run:
            run(_TAKEN, (gateway, key, gone))
            run(_NEW, (key, gateway))
            return str(run(_OWNER, (key,)).fetchone()[0])

    async def release(self, key: str, gateway: str) -> None:
        """See Claims."""
        with _usable(), self._file.write() as run:
            run("DELETE FROM claims WHERE key = ? AND gateway = ?", (key, gateway))

    def close(self) -> None:
        """Use it no more."""
        self._file.close()


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        log.error("claims_failed", error=type(error).__name__)  # noqa: TRY400 - it says enough
        raise Problem("PC7050", "it cannot be said which gateway keeps it") from None
