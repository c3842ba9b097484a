"""What sessions have used of their budgets: one row for each measure, gone with the session."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.core.principal import Measure, Session
from portcullis.store.dialect import upsert, writing
from portcullis.store.tables import SESSION_SPENT, SESSIONS

_COLUMNS = SESSION_SPENT.c


class SqlSpent:
    """Implements ``core.ports.Spending`` over SQL. Use it from one event loop.

    A row is counted up only where it is below its limit, and all of a call's in one transaction:
    what several processes take at once is never more than there is.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)
        self._turn = asyncio.Lock()

    async def take(self, session: Session, measures: Collection[Measure]) -> Measure | None:
        """See Spending."""
        limited = [measure for measure in measures if measure in session.budget]
        if not limited:
            return None
        try:
            async with self._turn:  # who waits for SQLite's lock sleeps, and longer each time
                return await asyncio.to_thread(self._take, session, limited)
        except SQLAlchemyError:
            raise Problem("PC9002", "what the session has used cannot be counted") from None

    async def left(self, session: Session) -> dict[Measure, int]:
        """See Spending."""
        if not session.budget:
            return {}
        try:
            return await asyncio.to_thread(self._left, session)
        except SQLAlchemyError:
            raise Problem("PC9002", "what the session has used cannot be read") from None

    def _take(self, session: Session, measures: Collection[Measure]) -> Measure | None:
        with self._writing.connect() as connection:
            _expect_open(connection, session)
            for measure in sorted(measures):  # as everybody: nobody waits for each other
                limit = session.budget[measure]
                row = {
                    "session": session.id,
                    "measure": measure,
                    "expires_at": session.expires_at,
                    "amount": 1,
                }
                counted = (
                    upsert(connection, SESSION_SPENT)
                    .values(row)
                    .on_conflict_do_update(
                        index_elements=[_COLUMNS.session, _COLUMNS.measure],
                        set_={"amount": _COLUMNS.amount + 1},
                        where=_COLUMNS.amount < limit,
                    )
                    .returning(_COLUMNS.amount)
                )
                if connection.execute(counted).one_or_none() is None:
                    return measure  # and nothing is committed
            connection.commit()
        return None

    def _left(self, session: Session) -> dict[Measure, int]:
        query = select(_COLUMNS.measure, _COLUMNS.amount).where(_COLUMNS.session == session.id)
        with self._engine.connect() as connection:
            _expect_open(connection, session)
            spent = {row.measure: row.amount for row in connection.execute(query)}
        return {
            measure: max(limit - spent.get(measure, 0), 0)
            for measure, limit in session.budget.items()
        }


def _expect_open(connection: Connection, session: Session) -> None:
    """Of a session that is open here nothing is forgotten before the transaction ends."""
    query = select(SESSIONS.c.id).where(SESSIONS.c.id == session.id)
    query = query.with_for_update(read=True, key_share=True)
    if connection.execute(query).one_or_none() is None:
        raise Problem("PC2006", "the session has been closed or has expired")


def forget_spent(connection: Connection, *, session: str = "", expired: float = 0.0) -> None:
    """Delete what one session has used, or those that have expired by a time."""
    gone = _COLUMNS.session == session if session else _COLUMNS.expires_at <= expired
    connection.execute(delete(SESSION_SPENT).where(gone))
