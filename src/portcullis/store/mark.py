"""How far records in a server have come, as the folder of who rules remembers it too.

A server can be put back to an earlier time, beneath a deployment that goes on: then its records
have forgotten who was cut off, and what was used up. The mark grows with time in both places, so
that this is seen, but for the last ``_EVERY`` seconds.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine

from portcullis.core.errors import Problem
from portcullis.identity.private import read_private, write_private
from portcullis.store.versions import advance, reached

MARKED: Final = "records.mark"
"""Below the state directory."""
_NAME: Final = "mark"
_EVERY: Final = 5.0


class Mark:
    """For one process at a time: who rules. ``path`` is the file that remembers."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._due = 0.0

    def step(self, *, now: bool = False) -> None:
        """Set it, if it is time to, or ``now``. Raises Problem PC6036 when the records went back.

        ``SQLAlchemyError`` when that cannot be asked.
        """
        if not now and time.monotonic() < self._due:
            return
        least = remembered(self._path)
        with self._engine.begin() as connection:
            found = reached(connection, _NAME)
            if found < least:
                since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(found))
                raise Problem("PC6036", f"they are of {since}, {least - found} seconds before")
            advance(connection, _NAME, int(time.time()))
            found = reached(connection, _NAME)
        with contextlib.suppress(Problem):  # on a full disk it remembers less
            write_private(self._path, str(found).encode())
        self._due = time.monotonic() + _EVERY


def settle(connection: Connection, path: Path) -> None:
    """Take the records as they are for those of this folder."""
    advance(connection, _NAME, max(int(time.time()), remembered(path)))


def remembered(path: Path) -> int:
    """What the folder knows; 0 where it knows nothing. Raises Problem PC7001."""
    raw = read_private(path)
    try:
        return 0 if raw is None else int(raw)
    except ValueError:
        raise Problem("PC7001", f"{path} is not what we write") from None
