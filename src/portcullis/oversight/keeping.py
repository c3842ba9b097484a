"""What time does to approvals: they expire, end with their session, and somebody is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from portcullis.config import Approvals as Settings
from portcullis.core.approval import Approval, State, Verb
from portcullis.core.approval_ports import ApprovalStore
from portcullis.core.ports import Clock, Recorder
from portcullis.core.session_ports import SessionState
from portcullis.oversight.events import Events

_MOST: Final = 10_000
KEPT_SECONDS: Final = 30 * 86_400.0
"""How long settled ones can be listed, and what the approved call was like is kept; the log keeps
its events as long as everything."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """One in a deployment: the gate's. Nothing depends on it but who is told when.

    ``deciding`` is held by whoever decides, so that what is recorded as decided was still open.
    """

    store: ApprovalStore
    sessions: SessionState
    recorder: Recorder
    clock: Clock
    events: Events
    settings: Settings
    deciding: asyncio.Lock

    async def look(self) -> None:
        """Do what is due now. Raises Problem PC6001 when that cannot be recorded.

        What cannot be done for one is raised after all others had their turn. What merely waits
        is not looked at, only its session.
        """
        now = self.clock.now()
        faults: list[Exception] = []
        for approval in (*await self._due(now), *await self._left(faults)):
            try:
                async with self.deciding:
                    await self._one(approval, now)
            except Exception as error:  # noqa: BLE001 - the others first
                faults.append(error)
        if faults:
            raise faults[0]

    async def _due(self, now: float) -> tuple[Approval, ...]:
        """Those whose time is over, or of which somebody is to be told."""
        remind, escalate = self.settings.remind_seconds, self.settings.escalate_seconds
        return await asyncio.to_thread(
            self.store.due,
            now,
            reminding=None if remind is None else now - remind,
            escalating=None if escalate is None else now - escalate,
            limit=_MOST,
        )

    async def _left(self, faults: list[Exception]) -> list[Approval]:
        """Those whose session is over; ``faults`` gets what is wrong with others."""
        found: list[Approval] = []
        for session in await asyncio.to_thread(self.store.sessions):
            try:
                if await self.sessions.get(session) is None:
                    found += await asyncio.to_thread(self.store.of_session, session)
            except Exception as error:  # noqa: BLE001 - the others first
                faults.append(error)
        return found

    async def forget(self) -> None:
        """Delete what was settled long ago."""
        await asyncio.to_thread(self.store.forget, self.clock.now() - KEPT_SECONDS)

    async def _one(self, approval: Approval, now: float) -> None:
        if approval.expires_at <= now:
            await self._end(approval, Verb.EXPIRE, "approval.expired")
        elif approval.session and await self.sessions.get(approval.session) is None:
            await self._end(approval, Verb.CANCEL, "approval.cancelled")
        elif approval.state is State.PENDING:
            await self._tell(approval, now)

    async def _end(self, approval: Approval, verb: Verb, method: str) -> None:
        now = self.clock.now()
        if await asyncio.to_thread(self.store.move, approval.id, verb, now=now):
            event = self.events.befell(method, approval, was=approval.state)
            await self.recorder.durable(event)

    async def _tell(self, approval: Approval, now: float) -> None:
        """That it still waits, by events: whoever exports the log can wake somebody."""
        waited = now - approval.created_at
        remind, escalate = self.settings.remind_seconds, self.settings.escalate_seconds
        if remind is not None and waited >= remind and not approval.reminded_at:
            self.recorder.enqueue(
                self.events.befell("approval.reminded", approval, waited=int(waited))
            )
            await asyncio.to_thread(self.store.mark, approval.id, "reminded", now)
        if escalate is not None and waited >= escalate and not approval.escalated_at:
            self.recorder.enqueue(
                self.events.befell("approval.escalated", approval, waited=int(waited))
            )
            await asyncio.to_thread(self.store.mark, approval.id, "escalated", now)
