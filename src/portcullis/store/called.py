"""What sessions have called at which servers, at whichever gateway; see ``checks.overheard``."""

from __future__ import annotations

import math
import sqlite3
from collections import OrderedDict
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem
from portcullis.store.volatile import Volatile

MOST: Final = 16_384
"""Sessions at servers of which it is kept; those that began longest ago go first."""
_SCHEMA: Final = """
CREATE TABLE visit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL, server TEXT NOT NULL,
    UNIQUE (session, server)
);
CREATE TABLE called (
    visit INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (visit, name)
) WITHOUT ROWID;
"""
_VISIT: Final = "SELECT number FROM visit WHERE session = ? AND server = ?"
_NAMES: Final = """
SELECT name FROM visit JOIN called ON called.visit = visit.number WHERE session = ? AND server = ?
"""


class SharedCalled:
    """Implements ``checks.overheard.Called`` for all processes that open the same file.

    Both methods raise Problem PC7050: then nothing goes out.
    """

    def __init__(self, path: Path) -> None:
        self._file = Volatile(path, _SCHEMA)
        self._noted: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        """What need not be written again."""

    async def note(self, session: str, server: str, name: str, since: float = math.inf) -> None:
        """See Called."""
        del since
        key = (session, server, name)
        if key in self._noted:
            return
        try:
            with self._file.write() as run:
                found = run(_VISIT, key[:2]).fetchone()
                if found is None:
                    made = run("INSERT INTO visit (session, server) VALUES (?, ?)", key[:2])
                    found = (made.lastrowid,)
                    old = (made.lastrowid or 0) - MOST
                    run("DELETE FROM called WHERE visit <= ?", (old,))
                    run("DELETE FROM visit WHERE number <= ?", (old,))
                run("INSERT OR IGNORE INTO called VALUES (?, ?)", (found[0], name))
        except sqlite3.Error:
            raise _unusable() from None
        self._noted[key] = None
        if len(self._noted) > MOST:
            self._noted.popitem(last=False)

    async def names(self, session: str, server: str) -> frozenset[str]:
        """See Called."""
        try:
            return frozenset(name for (name,) in self._file.read(_NAMES, (session, server)))
        except sqlite3.Error:
            raise _unusable() from None

    def close(self) -> None:
        """Use it no more."""
        self._file.close()


def _unusable() -> Problem:
    return Problem("PC7050", "what the session has called cannot be read or written")
