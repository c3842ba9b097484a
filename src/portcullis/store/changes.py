"""Whether anybody has changed the database since."""

from __future__ import annotations

import asyncio
import sqlite3
from urllib.parse import quote

from sqlalchemy import Engine

from portcullis.store.dialect import SQLITE, Version, asking, data_version


class Changes:
    """Watches an engine's database over a connection of its own, which never writes.

    ``version`` is something else after every commit of anybody else's, whatever process or
    connection made it. It raises ``sqlite3.Error`` or ``SQLAlchemyError``; use it from one thread
    at a time. With ``instant`` (SQLite) it is asked in microseconds, without a query; otherwise it
    is one.
    """

    def __init__(self, engine: Engine) -> None:
        self.instant = engine.dialect.name == SQLITE
        self._asking = asking(engine)
        self._file: sqlite3.Connection | None = None
        if self.instant:
            path = quote(str(engine.url.database))
            self._file = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=0
            )

    def version(self) -> Version:
        """What stands for the database as it is now. Blocks, where it is not instant."""
        if self._file is not None:
            row = self._file.execute("PRAGMA data_version").fetchone()
            return int(row[0])
        with self._asking.connect() as connection:
            return data_version(connection)

    async def now(self) -> Version:
        """The same for a loop, which it does not block."""
        return self.version() if self.instant else await asyncio.to_thread(self.version)

    def close(self) -> None:
        """Watch no more."""
        if self._file is not None:
            self._file.close()
