"""Ruling a deployment: one process at a time, in whatever order servers and processes go away.

A *lock* of a connection to PostgreSQL keeps a second process out while that connection lives, and a
*term*, counted in the records by each who begins to publish, says who came later. The lock alone is
lost with the connection; the term is not, and it goes with every frame of the kill feed. So a
process that had ruled and cannot know whether it still does (its database is out of reach) goes on
to cut off, as it must, and is obeyed no more from the first frame of whoever rules since: see
docs/decisions/039-the-last-snapshot-and-one-ruler.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Final

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.store import dialect
from portcullis.store.mark import Mark
from portcullis.store.postgresql import reason
from portcullis.store.versions import advance, reached

log = structlog.get_logger(__name__)

TERM: Final = "ruling"
_LOOK: Final = text("SELECT 1")
_LOOK_SECONDS: Final = 0.5


class Hold(StrEnum):
    """What a process has of its rule.

    HELD: nobody else can have it. UNKNOWN: the database does not say. LOST: another rules since, or
    the records are older than they were.
    """

    HELD = "held"
    UNKNOWN = "unknown"
    LOST = "lost"


class RecordsRule:
    """Implements ``core.feed.Rule`` over the records.

    An SQLite file has no lock of ours: it is of one machine, whose processes see to that
    themselves, and holds as long as they run.
    """

    def __init__(self, engine: Engine, name: str, marked: Path | None = None) -> None:
        self._engine = dialect.asking(engine)
        self._writing = dialect.writing(engine, TERM)
        self._locks = engine.dialect.name == dialect.POSTGRESQL
        marks = marked if self._locks else None
        self._mark = None if marks is None else Mark(self._writing, marks)
        self._name = name
        self._busy = Lock()
        self._connection: Connection | None = None
        self._closed = False
        self._term = 0

    def take(self) -> None:
        """Keep others out. Raises Problem PC6003 while another process does, PC7001."""
        try:
            if self._locks and not self._take_lock():
                detail = f"another process has the {self._name} of this database"
                raise Problem("PC6003", detail, hint="Stop it first: `store.url` says which it is.")
            with self._engine.connect() as connection:
                self._term = reached(connection, TERM)
        except SQLAlchemyError as error:
            raise Problem("PC7001", f"store: {reason(error)}") from None

    def begin(self) -> int:
        """See Rule. Raises Problem PC7001, PC6036 where the records went back."""
        try:
            if self._mark is not None:
                self._mark.step(now=True)
            with self._writing.begin() as connection:
                advance(connection, TERM)
                self._term = reached(connection, TERM)
        except SQLAlchemyError as error:
            raise Problem("PC7001", f"store: {reason(error)}") from None
        return self._term

    def close(self) -> None:
        """Let go of it."""
        with self._busy:
            self._closed = True
            self._drop()

    async def keep(self) -> None:
        """See Rule."""
        before = Hold.HELD
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            found = await asyncio.to_thread(self.look)
            if found != before:
                log.warning("ruling", hold=found.value, term=self._term)
                before = found
            if found is Hold.LOST:
                return

    def look(self) -> Hold:
        """How it stands; a lock that went with its connection is taken again. Blocks."""
        with self._busy:
            if self._closed or not self._locks:
                return Hold.HELD
            try:
                return self._look()
            except SQLAlchemyError:
                self._drop()
                return Hold.UNKNOWN
            except Problem as problem:
                log.critical("records_went_back", code=problem.code, detail=problem.detail)
                self._drop()
                return Hold.LOST

    def _look(self) -> Hold:
        if self._connection is not None:
            self._connection.execute(_LOOK)
            if self._mark is not None:
                self._mark.step()
            return Hold.HELD
        taken = self._take_lock()
        with self._engine.connect() as connection:
            found = reached(connection, TERM)
        if found > self._term:
            self._drop()
            return Hold.LOST
        if not taken:  # by somebody who has not begun, or by a connection of ours that hangs
            return Hold.UNKNOWN
        if self._mark is not None:
            self._mark.step(now=True)
        if found < self._term:  # a standby that had not heard of us was made the server
            with self._writing.begin() as connection:
                advance(connection, TERM, self._term)
        return Hold.HELD

    def _take_lock(self) -> bool:
        connection = self._engine.connect()
        taken = False
        try:
            taken = dialect.kept(connection, self._name)
        finally:
            if not taken:
                connection.close()
        if taken:
            self._connection = connection
        return taken

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # and with it goes what it kept
            connection.close()


@contextlib.contextmanager
def only(engine: Engine, name: str, marked: Path | None = None) -> Iterator[RecordsRule]:
    """Be the only process with this name on a database, as long as the block lasts.

    Who rules remembers in the file ``marked`` how far the records of a server have come. Raises
    Problem PC6003 when another is, PC7001.
    """
    rule = RecordsRule(engine, name, marked)
    try:
        rule.take()
        yield rule
    finally:
        rule.close()
