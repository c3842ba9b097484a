"""The labels of sessions: in memory, and durable before anybody acts on what was learned.

They lie sealed, each for its own row, as long as their session is open; they only ever merge
upward, so whoever writes last takes nothing away.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec
from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer
from portcullis.core.principal import Session
from portcullis.provenance.labels import Labels
from portcullis.store.tables import SESSION_LABELS

KEPT: Final = 1024
"""Most sessions whose labels are remembered; the others' are read anew."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Labels).decode
_NONE: Final = Labels()


class SqlLabels:
    """Implements ``provenance.ports.LabelState`` over SQL. Use it from one event loop.

    ``shared``: other processes write too, so everything is read anew. What cannot be read or
    written raises Problem PC9002: then deny.
    """

    def __init__(self, engine: Engine, sealer: Sealer, *, shared: bool = False) -> None:
        self._engine = engine
        self._writing = engine.execution_options(portcullis_immediate=True)
        self._sealer = sealer
        self._shared = shared
        self._known: OrderedDict[str, Labels] = OrderedDict()
        self._unwritten: dict[str, tuple[Session, Labels]] = {}
        self._turn = asyncio.Lock()

    async def read(self, session: Session) -> Labels:
        """The labels of a session."""
        known = None if self._shared else self._known.get(session.id)
        if known is not None:
            self._known.move_to_end(session.id)
            return known
        try:
            found = await asyncio.to_thread(self._select, session.id)
        except (SQLAlchemyError, msgspec.MsgspecError):
            raise Problem("PC9002", "the session's labels cannot be read") from None
        return self._remember(session.id, found)

    async def merge(self, session: Session, more: Labels) -> Labels:
        """Add labels; the session's then. They are durable when it returns."""
        before = await self.read(session)
        labels = before.merge(more)
        if labels == before:
            if session.id in self._unwritten or self._turn.locked():
                async with self._turn:  # somebody else learned it, and it may not be written yet
                    if session.id in self._unwritten:
                        await self._write()
            return before
        labels = self._remember(session.id, labels)
        waiting = self._unwritten.get(session.id, (session, _NONE))[1]
        self._unwritten[session.id] = session, waiting.merge(labels)
        async with self._turn:
            if session.id in self._unwritten:  # else it went with another's
                await self._write()
        return labels

    async def _write(self) -> None:
        batch, self._unwritten = self._unwritten, {}
        try:
            await asyncio.to_thread(self._store, batch)
        except (SQLAlchemyError, msgspec.MsgspecError, Problem):
            for name, (session, labels) in batch.items():
                later = self._unwritten.get(name, (session, _NONE))[1]
                self._unwritten[name] = session, later.merge(labels)
            raise Problem("PC9002", "the session's labels cannot be written") from None

    def _remember(self, session: str, labels: Labels) -> Labels:
        """Keep in memory, with what is known by now."""
        labels = labels.merge(self._known.pop(session, _NONE))
        self._known[session] = labels
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return labels

    def _select(self, session: str) -> Labels:
        with self._engine.connect() as connection:
            return self._row(connection, session)

    def _row(self, connection: Connection, session: str) -> Labels:
        column = SESSION_LABELS.c
        query = select(column.document).where(column.session == session)
        document = connection.execute(query).scalar_one_or_none()
        if document is None:
            return _NONE
        return _decode(self._sealer.open(document, labels_purpose(session)))

    def _store(self, batch: dict[str, tuple[Session, Labels]]) -> None:
        with self._writing.begin() as connection:
            for name, (session, labels) in batch.items():
                whole = labels.merge(self._row(connection, name))
                document = self._sealer.seal(_encode(whole), labels_purpose(name))
                row = {"session": name, "expires_at": session.expires_at, "document": document}
                change = insert(SESSION_LABELS).values(row)
                connection.execute(
                    change.on_conflict_do_update(
                        index_elements=[SESSION_LABELS.c.session], set_={"document": document}
                    )
                )


def labels_purpose(session_id: str) -> str:
    """What a session's labels are sealed for."""
    return f"session_labels:{session_id}"


def forget_labels(connection: Connection, *, session: str = "", expired: float = 0.0) -> None:
    """Delete the labels of one session, or of those that have expired by a time."""
    column = SESSION_LABELS.c
    gone = column.session == session if session else column.expires_at <= expired
    connection.execute(delete(SESSION_LABELS).where(gone))
