"""Open sessions for a process that shows them and serves none: a control plane."""

from __future__ import annotations

import asyncio

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.store.sessions import SharedSessionState
from portcullis.store.tables import SESSIONS


class WatchedSessionState(SharedSessionState):
    """The same, and ``opened`` has the sessions of all processes, as of the last ``settle``."""

    async def settle(self) -> None:
        """The same, and know those that others have opened. Raises Problem PC9002, PC7010."""
        await super().settle()
        try:
            unknown = await asyncio.to_thread(self._unknown, frozenset(self._sessions))
        except SQLAlchemyError:
            raise Problem("PC9002", "the sessions cannot be looked up") from None
        for session_id in unknown:
            await self.get(session_id)

    def _unknown(self, known: frozenset[str]) -> list[str]:
        query = select(SESSIONS.c.id).where(SESSIONS.c.expires_at > self._clock.now())
        with self._engine.connect() as connection:
            return [one for one in connection.execute(query).scalars() if one not in known]
