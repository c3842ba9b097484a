"""The labels of sessions: durable before anybody acts on what was learned.

They lie sealed, each for its own row, as long as their session is open, and are read anew each
time, since other processes write too. They only ever merge upward, so whoever writes last takes
nothing away. Of a session that has ended nothing is read, and nothing is written any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec
from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer
from portcullis.core.principal import Session
from portcullis.provenance.labels import Labels
from portcullis.store.dialect import asking, upsert, writing
from portcullis.store.tables import SESSION_LABELS, SESSIONS

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Labels).decode
_NONE: Final = Labels()
_ENDED: Final = "PC2006"

_Outcome: TypeAlias = Labels | Problem


class _Waiting(NamedTuple):
    """What somebody learned, and where it is said what became of it."""

    session: Session
    more: Labels
    done: asyncio.Future[_Outcome]


class SqlLabels:
    """Implements ``provenance.ports.LabelState`` over SQL. Use it from one event loop."""

    def __init__(self, engine: Engine, sealer: Sealer) -> None:
        self._asking = asking(engine)
        self._writing = writing(engine)
        self._sealer = sealer
        self._waiting: list[_Waiting] = []
        self._turn = asyncio.Lock()

    async def read(self, session: Session) -> Labels:
        """See LabelState."""
        try:
            return await asyncio.to_thread(self._select, session.id)
        except (SQLAlchemyError, msgspec.MsgspecError, Problem) as error:
            if isinstance(error, Problem) and error.code == _ENDED:
                raise
            raise Problem("PC9002", "the session's labels cannot be read") from None

    async def merge(self, session: Session, more: Labels) -> Labels:
        """See LabelState. What several calls learn at once is written in one transaction."""
        before = await self.read(session)
        if before.merge(more) == before:
            return before
        mine = _Waiting(session, more, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        async with self._turn:
            if not mine.done.done():  # else it went with another's
                await self._write()
        outcome = mine.done.result()
        if isinstance(outcome, Problem):
            raise Problem(outcome.code, outcome.detail)
        return outcome

    async def _write(self) -> None:
        batch, self._waiting = self._waiting, []
        outcomes: Sequence[_Outcome]
        try:
            outcomes = await asyncio.to_thread(self._store, batch)
        except SQLAlchemyError:
            outcomes = [_unwritten()] * len(batch)
        except BaseException:  # cancelled: the next one writes it, or writes it again
            self._waiting = batch + self._waiting
            raise
        for one, outcome in zip(batch, outcomes, strict=True):
            if not one.done.done():
                one.done.set_result(outcome)

    def _select(self, session: str) -> Labels:
        with self._asking.connect() as connection:
            return self._row(connection, session)

    def _row(self, connection: Connection, session: str) -> Labels:
        """The labels of a session. Raises Problem PC2006 when it has ended."""
        column = SESSION_LABELS.c
        joined = SESSIONS.outerjoin(SESSION_LABELS, column.session == SESSIONS.c.id)
        query = select(column.document).select_from(joined).where(SESSIONS.c.id == session)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise Problem(_ENDED, "the session has been closed or has expired")
        if row.document is None:
            return _NONE
        return _decode(self._sealer.open(row.document, labels_purpose(session)))

    def _store(self, batch: Sequence[_Waiting]) -> list[_Outcome]:
        """Write all that can be written, in one transaction; what became of each."""
        held = select(SESSIONS.c.id).with_for_update(key_share=True)
        with self._writing.begin() as connection:
            for name in sorted({one.session.id for one in batch}):  # as everybody
                connection.execute(held.where(SESSIONS.c.id == name))
            return [self._merged(connection, one) for one in batch]

    def _merged(self, connection: Connection, one: _Waiting) -> _Outcome:
        name = one.session.id
        try:
            labels = self._row(connection, name).merge(one.more)
            document = self._sealer.seal(_encode(labels), labels_purpose(name))
        except Problem as problem:
            return problem if problem.code == _ENDED else _unwritten()
        except msgspec.MsgspecError:
            return _unwritten()
        row = {"session": name, "expires_at": one.session.expires_at, "document": document}
        connection.execute(
            upsert(connection, SESSION_LABELS)
            .values(row)
            .on_conflict_do_update(
                index_elements=[SESSION_LABELS.c.session], set_={"document": document}
            )
        )
        return labels


def _unwritten() -> Problem:
    return Problem("PC9002", "the session's labels cannot be written")


def labels_purpose(session_id: str) -> str:
    """What a session's labels are sealed for."""
    return f"session_labels:{session_id}"


def forget_labels(connection: Connection, *, session: str = "", expired: float = 0.0) -> None:
    """Delete the labels of one session, or of those that have expired by a time."""
    column = SESSION_LABELS.c
    gone = column.session == session if session else column.expires_at <= expired
    connection.execute(delete(SESSION_LABELS).where(gone))
