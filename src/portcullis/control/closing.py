"""Sessions that an operator ends, whoever opened them."""

from __future__ import annotations

import asyncio

from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.session_ports import SessionState


class Closing:
    """Ends sessions for operators; ``route`` is what that is called in the records."""

    def __init__(self, state: SessionState, records: Records, route: str) -> None:
        self._state = state
        self._records = records
        self._route = route
        self._one = asyncio.Lock()

    async def close(self, context: Context, session_id: str) -> None:
        """End a session: its tokens are refused from the next request on.

        Raises Problem PC2010 when none of this id is open, PC6001 when it cannot be recorded (then
        it stays open), PC9002 while the end would not outlive a restart; it can be closed again.
        """
        async with self._one:
            session = self._state.closing(session_id)
            if session is None:
                session = await self._state.get(session_id)
                if session is None:
                    raise Problem("PC2010", "no session of this id is open")
                await self._records.act(
                    context,
                    "sessions.close",
                    f"agent:{session.agent}",
                    route=self._route,
                    session=session,
                )
            await self._state.close(session_id)
