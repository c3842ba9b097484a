"""Whether anybody has changed the database since: asked in microseconds, without a query."""

from __future__ import annotations

import sqlite3
from urllib.parse import quote

from sqlalchemy import Engine


class Changes:
    """Watches the SQLite file of an engine over a connection of its own, which never writes.

    ``version`` is another number after every commit of anybody else's, whatever process or
    connection made it (SQLite's data_version). It raises ``sqlite3.Error``; use it from one thread.
    """

    def __init__(self, engine: Engine) -> None:
        path = quote(str(engine.url.database))
        self._connection = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=0
        )

    def version(self) -> int:
        """The number now."""
        row = self._connection.execute("PRAGMA data_version").fetchone()
        return int(row[0])

    def close(self) -> None:
        """Watch no more."""
        self._connection.close()
