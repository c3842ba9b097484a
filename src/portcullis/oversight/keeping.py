"""What time does to approvals: they expire, end with their session, and somebody is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from portcullis.config import Approvals as Settings
from portcullis.core.approval import Approval, Verb, before
from portcullis.core.approval_ports import ApprovalStore, Told
from portcullis.core.event import Event
from portcullis.core.ports import Clock, Recorder
from portcullis.core.session_ports import SessionState
from portcullis.oversight.events import Events

_MOST: Final = 10_000
_AT_ONCE: Final = 256
"""How many are done at once: whoever decides waits for no more than those."""
KEPT_SECONDS: Final = 30 * 86_400.0
"""How long settled ones can be listed, and what the approved call was like is kept; the log keeps
its events as long as everything."""

log = structlog.get_logger(__name__)


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
        """Do what is due now: first what is over ends, then of what still waits somebody is told.

        Each is on record before it is done: after a crash between it is on record twice. What
        merely waits is not looked at, only its session. Raises what was wrong with one after all
        others had their turn, Problem PC6001 when it cannot be recorded.
        """
        now = self.clock.now()
        faults: list[Exception] = []
        over = await asyncio.to_thread(self.store.due, now, _MOST)
        await self._end(over, Verb.EXPIRE, "approval.expired", faults)
        await self._end(await self._left(faults), Verb.CANCEL, "approval.cancelled", faults)
        remind, escalate = self.settings.remind_seconds, self.settings.escalate_seconds
        if remind is not None:
            await self._tell("reminded", now - remind, now, faults)
        if escalate is not None:
            await self._tell("escalated", now - escalate, now, faults)
        if faults:
            raise faults[0]

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

    async def cancel(self, approvals: Sequence[Approval]) -> None:
        """End these, as far as they are open: whoever asked is cut off. Raises as ``look``."""
        faults: list[Exception] = []
        await self._end(approvals, Verb.CANCEL, "approval.cancelled", faults)
        if faults:
            raise faults[0]

    async def forget(self) -> None:
        """Delete what was settled long ago."""
        await asyncio.to_thread(self.store.forget, self.clock.now() - KEPT_SECONDS)

    async def _end(
        self, over: Sequence[Approval], verb: Verb, method: str, faults: list[Exception]
    ) -> None:
        """Apply the verb to those to which it still applies."""
        for start in range(0, len(over), _AT_ONCE):
            some = [one.id for one in over[start : start + _AT_ONCE]]
            try:
                async with self.deciding:
                    open_yet = await asyncio.to_thread(self._open, some, verb)
                    events = [
                        (one.id, self.events.befell(method, one, was=one.state)) for one in open_yet
                    ]
                    recorded = await self._recorded(events, faults)
                    await asyncio.to_thread(self._move, recorded, verb)
            except Exception as error:  # noqa: BLE001 - the others first
                faults.append(error)

    async def _tell(self, kind: Told, until: float, now: float, faults: list[Exception]) -> None:
        """That they still wait, by events: whoever exports the log can wake somebody."""
        method, full = f"approval.{kind}", True
        while full:
            async with self.deciding:
                found = await asyncio.to_thread(self.store.untold, kind, until, now, _AT_ONCE)
                events = [
                    (one.id, self.events.befell(method, one, waited=int(now - one.created_at)))
                    for one in found
                ]
                recorded = await self._recorded(events, faults)
                if recorded:
                    await asyncio.to_thread(self.store.mark, recorded, kind, now)
            full = len(recorded) == _AT_ONCE

    async def _recorded(
        self, events: Sequence[tuple[str, Event]], faults: list[Exception]
    ) -> list[str]:
        """The approvals whose event is on record now, durably."""
        durable = (self.recorder.durable(event) for _, event in events)
        outcomes = await asyncio.gather(*durable, return_exceptions=True)
        faults += [one for one in outcomes if isinstance(one, Exception)]
        named = zip(events, outcomes, strict=True)
        return [approval for (approval, _), outcome in named if outcome is None]

    def _open(self, approvals: Sequence[str], verb: Verb) -> list[Approval]:
        found = (self.store.get(approval) for approval in approvals)
        return [one for one in found if one is not None and one.state in before(verb)]

    def _move(self, approvals: Sequence[str], verb: Verb) -> None:
        for approval in approvals:
            if self.store.move(approval, verb, now=self.clock.now()) is None:
                log.warning("approval_ended_otherwise", approval=approval, recorded=str(verb))
