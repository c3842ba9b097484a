"""Incidents, for operators: one way through, each step recorded before it acts.

How a page or a command uses it: ``show`` gives the ``Incident``; its ``due`` says which step's form
to offer, and ``playbook_of`` what to say beside it. A step's method returns the incident as it is
then. ``contain`` and ``revoke`` act at once. ``rotate`` begins with a list, of which each
credential is settled by ``rotate_one`` or ``settle``; ``reaudit`` begins with another, of which
each finding is settled by ``judge``; both steps end by themselves with the last of their list, and
taking the step again changes nothing but that. ``reinstate`` proposes; somebody else says
``approve``; ``reinstate`` then acts, and hands out the join token, once. What is missing is told by
a Problem: PC7061 (another step is due), PC7064 (the playbook's checklist), PC7067 (the second
person). A step that began and did not end, after a fault or a crash, is taken again by the same
method; ``resume`` does that for those that cut somebody off.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

import structlog
from msgspec.structs import replace

from portcullis.control.containment import by_itself
from portcullis.control.entries import JoinToken
from portcullis.control.incidents_approving import LOOK, Approved, binding_of
from portcullis.control.incidents_led import who
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.incident import (
    OPEN,
    Asked,
    Containing,
    Incident,
    Note,
    Phase,
    Source,
    Step,
    Subject,
    Ticked,
)
from portcullis.core.principal import PrincipalKind
from portcullis.oversight.incidents_playbook import named

log = structlog.get_logger(__name__)

PAGE: Final = 100
"""Most incidents of one page."""
NOTES: Final = 200
"""Most notes of one incident."""
_CUTTING: Final = (Step.CONTAIN, Step.REVOKE)
_DAY: Final = 86_400.0


class Incidents(Approved):
    """Opens, leads through and ends incidents. ``route`` is as in ``Principals``."""

    # To look at.

    async def list(
        self,
        *,
        unresolved: bool = True,
        subject: str = "",
        before: str = "",
        limit: int = PAGE,
    ) -> tuple[Incident, ...]:
        """A page, the newest first, those before the id ``before``; ``subject`` is a name."""
        phases = OPEN if unresolved else tuple(Phase)
        return await asyncio.to_thread(
            self._store.page, phases, subject, before, max(1, min(limit, PAGE))
        )

    # To open, and to write down.

    async def open(
        self,
        context: Context,
        subject: Subject,
        reason: str,
        *,
        playbook: str = "",
        source: Source | None = None,
        since_days: int = 0,
        containing: Containing | None = None,
    ) -> Incident:
        """Open one; nothing is contained by that yet. Without a ``playbook`` it is the configured.

        Of a session only its id has to be given. Raises Problem PC2010 for an agent and PC2006 for
        a session that there is not, PC7062 while one is open about the same, PC7066.
        """
        subject = await self._known(subject)
        known = await self.of(subject)
        if known is not None:
            raise Problem("PC7062", f"{subject.name} has incident {known.id}, which is open")
        settings, now = self._parts.settings, self._clock.now()
        follows = named(dict(self._parts.playbooks), playbook or settings.playbook)
        made = Incident(
            id=self._new_id(),
            subject=subject,
            playbook=follows.name,
            opened_at=now,
            by=who(context),
            reason=reason,
            since=now - (since_days or settings.since_days) * _DAY,
            source=source or Source(),
            containing=containing or follows.containing,
            plan=follows,
        )
        await self._record(
            context,
            "open",
            made,
            {"reason": reason, "playbook": made.playbook, "source": made.source.kind},
        )
        kept = await asyncio.to_thread(self._store.open, made)
        if kept.id != made.id:
            raise Problem("PC7062", f"{subject.name} has incident {kept.id}, which is open")
        return kept

    async def note(self, context: Context, incident: str, text: str) -> Incident:
        """Write something down. Of the text the log has the size and the SHA-256 alone."""
        found = await self.show(incident)
        if len(found.notes) >= NOTES:
            raise Problem("PC7064", f"an incident has at most {NOTES} notes")
        digest = hashlib.sha256(text.encode()).hexdigest()
        await self._record(context, "note", found, {"characters": len(text), "sha256": digest})
        note = Note(at=self._clock.now(), by=who(context), text=text)
        return await self._change(incident, lambda one: replace(one, notes=(*one.notes, note)))

    async def tick(self, context: Context, incident: str, item: str, reason: str) -> Incident:
        """Say that something on the playbook's checklist is done. Raises Problem PC7065."""
        async with self._parts.turn(incident):
            found = await self._live(incident)
            steps = self.playbook_of(found).steps
            if not any(item in one.checklist for one in steps):
                raise Problem("PC7065", f"the playbook {found.playbook} has no item {item}")
            if any(one.id == item for one in found.ticked):
                return found
            await self._record(context, "tick", found, {"item": item, "reason": reason})
            done = Ticked(id=item, at=self._clock.now(), by=who(context), reason=reason)
            return await self._change(
                incident, lambda one: replace(one, ticked=(*one.ticked, done))
            )

    # The way through.

    async def contain(self, context: Context, incident: str, reason: str) -> Incident:
        """Kill or isolate it everywhere, as the incident says. Raises Problem PC7061, PC7068."""

        async def begin(found: Incident) -> Incident:
            stands = await self._acts.contained(found.subject, found.containing)
            return replace(found, made=not stands)

        return await self._at_once(
            context, incident, Step.CONTAIN, reason, self._acts.contain, begin
        )

    async def revoke(self, context: Context, incident: str, reason: str) -> Incident:
        """Make all its credentials worthless, and see that they are. Problem PC7061, PC7069."""
        return await self._at_once(context, incident, Step.REVOKE, reason, self._acts.revoke)

    async def reinstate(
        self,
        context: Context,
        incident: str,
        reason: str,
        *,
        days: int = 0,
        factor: float = 0.0,
        binding: str | None = None,
    ) -> tuple[Incident, JoinToken | None]:
        """Propose that it works again; once that is approved, see to it.

        ``days`` and ``factor`` are of the probation, the playbook's by default; naming others makes
        another proposal, which nobody has approved. The token is for the new identity, and
        stands nowhere else. With a ``binding`` (``binding_of`` what was shown) it sees to that one
        and proposes nothing, or proposes where that is empty and sees to nothing. Raises Problem
        PC7061, PC7064, PC7067 while nobody has approved, or when the binding is of another.
        """
        work = self._reinstated(context, incident, reason, days, factor, binding)
        return await self._finish(work)

    async def close(self, context: Context, incident: str, reason: str) -> Incident:
        """End it without letting anybody in again: the agent is revoked. Problem PC7061, PC7064."""
        return await self._at_once(context, incident, Step.CLOSE, reason, self._acts.close)

    async def stand_down(self, context: Context, incident: str, reason: str) -> Incident:
        """End it as a false alarm; what it contained itself is free. Raises Problem PC7061."""
        return await self._at_once(
            context, incident, Step.STAND_DOWN, reason, self._acts.stand_down
        )

    async def resume(self) -> None:
        """Take again what began to cut somebody off and did not end: the process died in it."""
        for one in await asyncio.to_thread(self._store.unresolved):
            last = one.steps[-1] if one.steps else None
            if last is None or last.ended_at or last.step not in _CUTTING:
                continue
            context = by_itself(self._clock.now())
            again = self.contain if last.step is Step.CONTAIN else self.revoke
            try:
                await again(context, one.id, last.reason)
            except Exception as error:
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                log.exception("incident_not_resumed", incident=one.id, fault=fault)

    # Within.

    async def _reinstated(
        self,
        context: Context,
        incident: str,
        reason: str,
        days: int,
        factor: float,
        binding: str | None,
    ) -> tuple[Incident, JoinToken | None]:
        async with self._parts.turn(incident):
            found = await self._expect(incident, Step.REINSTATE)
            if found.subject.session:
                raise Problem("PC7061", "a session is not reinstated; close is due")
            asked = found.asked
            if binding is not None:
                _expect_shown(asked, binding)
            if asked is None or _another(asked, days, factor, binding):
                self._expect_ticked(found, Step.REINSTATE)
                return await self._proposed(context, found, reason, days, factor), None
            if not asked.approved_by:
                raise Problem("PC7067", f"{asked.by} proposed it, and nobody approved it yet")
            await self._expect_good(context, found, asked)
            found = await self._begun(context, incident, Step.REINSTATE, reason)
            until = self._clock.now() + asked.days * _DAY
            found = await self._change(incident, lambda one: replace(one, probation_until=until))
            facts, token = await self._acts.reinstate(context, found)
            return await self._ended(context, found, Step.REINSTATE, facts), token

    async def _proposed(
        self, context: Context, found: Incident, reason: str, days: int, factor: float
    ) -> Incident:
        playbook = self.playbook_of(found)
        asked = Asked(
            at=self._clock.now(),
            by=who(context),
            reason=reason,
            days=days or playbook.days,
            factor=factor or playbook.factor,
        )
        said = {"reason": reason, "proposed": True, "days": asked.days}
        await self._record(context, "reinstate", found, said | {"factor": asked.factor})
        return await self._change(found.id, lambda one: replace(one, asked=asked))

    async def _known(self, subject: Subject) -> Subject:
        if subject.session:
            session = await self._acts.sessions.get(subject.session)
            if session is None:
                raise Problem("PC2006", "no such session is open")
            return Subject(agent=session.agent, session=subject.session)
        record = await asyncio.to_thread(self._directory.get, PrincipalKind.AGENT, subject.agent)
        if record is None:
            raise Problem("PC2010", "there is no agent of this name")
        return subject


def _another(asked: Asked, days: int, factor: float, binding: str | None) -> bool:
    """Whether something else is proposed than was; whoever names the same proposes what was."""
    if not asked.approved_by:
        return bool(days or factor or binding == "")
    return (days or asked.days, factor or asked.factor) != (asked.days, asked.factor)


def _expect_shown(asked: Asked | None, binding: str) -> None:
    """Raise Problem PC7067 unless this is what was shown: none approved yet where that is empty."""
    if not binding and asked is not None and asked.approved_by:
        detail = "a reinstatement was proposed and approved meanwhile"
        raise Problem("PC7067", detail, hint=LOOK)
    if binding and (asked is None or binding != binding_of(asked)):
        raise Problem("PC7067", "another reinstatement was proposed meanwhile", hint=LOOK)
