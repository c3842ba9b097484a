"""What agents do: decisions, agents and open sessions, for operators.

Decisions are as far as the logs are projected, which is a moment behind; what happens now is in
``control.live``.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from portcullis.core.approval_ports import ApprovalStore
from portcullis.core.cursor import cursor_of, key_of
from portcullis.core.desk import (
    MOST,
    AgentDetail,
    AgentPage,
    AgentSeen,
    AgentsWanted,
    Course,
    SeenFilter,
    SeenPage,
    SessionPage,
    SessionSeen,
    SessionsWanted,
    Wanted,
)
from portcullis.core.desk_ports import ActivityStore
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.principal import Session
from portcullis.core.session_ports import SessionState

_BESIDE: Final = 20
"""How many decisions, approvals and sessions stand beside one agent."""
_decoder: Final = msgspec.json.Decoder(tuple[float, str])


class Activity:
    """Reads for operators. Every page has at most ``MOST`` entries."""

    def __init__(
        self,
        *,
        store: ActivityStore,
        approvals: ApprovalStore,
        sessions: SessionState,
        clock: Clock,
    ) -> None:
        self._store = store
        self._approvals = approvals
        self._sessions = sessions
        self._clock = clock

    async def decisions(self, wanted: SeenFilter, cursor: str = "", limit: int = 50) -> SeenPage:
        """Decisions, the newest first. Raises Problem PC3051 for a cursor that is none of ours."""
        return await asyncio.to_thread(self._store.decisions, wanted, cursor, _bounded(limit))

    async def agents(self, wanted: AgentsWanted, cursor: str = "", limit: int = 50) -> AgentPage:
        """Agents by name. Raises Problem PC3051."""
        now = self._clock.now()
        return await asyncio.to_thread(self._store.agents, wanted, cursor, _bounded(limit), now)

    async def some(self, names: Collection[str]) -> Mapping[str, AgentSeen]:
        """Those of these agents that are registered; at most ``MOST`` at a time."""
        return await asyncio.to_thread(self._store.some, names, self._clock.now())

    async def course(self, agent: str, seconds: float, count: int) -> Course:
        """How much an agent asked for in the last ``count`` pieces of so many seconds."""
        end = (self._clock.now() // seconds + 1) * seconds
        since = end - count * seconds
        return await asyncio.to_thread(self._store.course, agent, since, seconds, count)

    async def agent(self, name: str) -> AgentDetail:
        """One agent. Raises Problem PC2010 when there is none."""
        now = self._clock.now()
        found = await asyncio.to_thread(self._store.agent, name, now)
        if found is None:
            raise Problem("PC2010", "there is no agent of this name")
        waiting = Wanted(agent=name)
        approvals = await asyncio.to_thread(self._approvals.page, waiting, "", _BESIDE, now)
        return AgentDetail(
            agent=found,
            decisions=(await self.decisions(SeenFilter(agent=name), "", _BESIDE)).decisions,
            approvals=approvals.approvals,
            sessions=(await self.sessions(SessionsWanted(agent=name), "", _BESIDE)).sessions,
        )

    async def sessions(
        self, wanted: SessionsWanted, cursor: str = "", limit: int = 50
    ) -> SessionPage:
        """Open sessions, the newest first. Raises Problem PC3051."""
        most, after = _bounded(limit), key_of(cursor, _decoder)
        fitting = [
            one
            for one in self._sessions.opened()
            if (not wanted.agent or one.agent == wanted.agent)
            and (not wanted.application or one.application == wanted.application)
            and (after is None or _key(one) < after)
        ]
        found = heapq.nlargest(most + 1, fitting, key=_key)
        shown = found[:most]
        last = await asyncio.to_thread(self._store.last_seen, [one.id for one in shown])
        seen = tuple(
            SessionSeen(
                id=one.id,
                agent=one.agent,
                application=one.application,
                opened_at=one.opened_at,
                expires_at=one.expires_at,
                last_seen=last.get(one.id, 0.0),
            )
            for one in shown
        )
        following = cursor_of(*_key(shown[-1])) if len(found) > most else ""
        return SessionPage(sessions=seen, following=following)


def _bounded(limit: int) -> int:
    return max(1, min(limit, MOST))


def _key(session: Session) -> tuple[float, str]:
    return session.opened_at, session.id
