"""What the steps of an incident do: by the verbs that there are anyway, each of which is recorded.

Every act may be done again, as after a crash half-way: what is done already is left as it is.
What they return are facts, in names and figures, for the step's record.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from portcullis.control.behaviour import Behaving
from portcullis.control.closing import Closing
from portcullis.control.containment import Containment
from portcullis.control.entries import Entries, JoinToken
from portcullis.control.kills import ACKNOWLEDGE_SECONDS, Kills
from portcullis.control.principals import Principals
from portcullis.control.quarantine import Quarantining
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.feed import Told
from portcullis.core.incident import Containing, Incident, Subject
from portcullis.core.lifecycle import State, Verb
from portcullis.core.ports import Clock
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.session_ports import SessionState

_AGENT: Final = PrincipalKind.AGENT
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """Contains, revokes, lets in again and ends. ``behaving`` is None where nothing is learned."""

    feed: Containment
    kills: Kills
    quarantining: Quarantining
    principals: Principals
    entries: Entries
    sessions: SessionState
    closing: Closing
    clock: Clock
    behaving: Behaving | None = None

    async def contained(self, subject: Subject, how: Containing, *, lasting: bool = True) -> bool:
        """Whether it is contained so already, in itself: not as one of a role or of all.

        ``lasting``: so that a restart knows of it.
        """
        return any(
            (one.scope, one.value) == (subject.kind, subject.value)
            and one.isolation == (how == "quarantine")
            and (one.durable or not lasting)
            for one in await self.feed.kept()
        )

    async def contained_since(self, subject: Subject, at: float) -> str:
        """Who has cut it off or isolated it after a time, and why; empty when nobody has."""
        for one in await self.feed.kept():
            if (one.scope, one.value) == (subject.kind, subject.value) and one.made_at > at:
                return f"{one.by or 'somebody'} contained it since ({one.reason})"
        return ""

    async def contain(self, context: Context, incident: Incident) -> Facts:
        """Kill or isolate it, in every gateway.

        Raises Problem PC7068 when that is not on record for good, and what the verbs raise.
        """
        subject, how = incident.subject, incident.containing
        facts: Facts = {"how": how, "made": incident.made}
        if await self.contained(subject, how):
            return facts | _told(await self.feed.acknowledged(ACKNOWLEDGE_SECONDS))
        if how == "kill":
            return facts | await self._killed(context, incident)
        if subject.session and await self.sessions.get(subject.session) is None:
            return facts | {"how": "kill"} | await self._killed(context, incident)  # it has ended
        reason = _because(incident)
        await self.quarantining.begin(context, subject.kind, subject.value, reason)
        return facts | _told(await self.feed.acknowledged(ACKNOWLEDGE_SECONDS))

    async def revoke(self, context: Context, incident: Incident) -> Facts:
        """Make everything worthless that proves who it is, and try whether it is.

        Whoever was only isolated is killed now: until it is reinstated nothing may be had in its
        name. Raises Problem PC7069 when something is let in still, PC7068, and what verbs raise.
        """
        subject = incident.subject
        facts: Facts = {}
        if not await self.contained(subject, "kill"):
            facts = await self._killed(context, incident)
        closed = await self._closed(context, subject)
        facts |= {"sessions": closed}
        if subject.session:
            if await self.sessions.get(subject.session) is not None:
                raise Problem("PC7069", f"session {subject.session} is open still")
            return facts | {"tried": {"session": "PC2006"}}
        before = self._presented(subject.agent)
        entries = await self.entries.list(_AGENT, subject.agent)
        for entry in entries:
            await _unless_gone(self.entries.remove(context, entry.id))
        record = await self.principals.get(_AGENT, subject.agent)
        foreign = bool(record.spiffe_id)
        if foreign:
            await self.principals.unname(context, subject.agent)
        if record.state is not State.REVOKED:
            await self.principals.rotate(context, _AGENT, subject.agent)
        facts |= {"registrations": len(entries), "foreign_identity": foreign}
        facts |= _told(await self.feed.acknowledged(ACKNOWLEDGE_SECONDS))
        return facts | {"tried": await self._tried(subject.agent, before)}

    async def reinstate(self, context: Context, incident: Incident) -> tuple[Facts, JoinToken]:
        """Let the agent in again, as somebody new; the probation holds already.

        Raises Problem PC7068 when it is suspended and PC4001 when something else keeps it out (its
        role is killed): then it is as cut off as before, and that has to be seen to first. PC7067
        when somebody contained it since that was approved.
        """
        agent = incident.subject.agent
        record = await self.principals.get(_AGENT, agent)
        if record.state is not State.ACTIVE:
            raise Problem("PC7068", f"{agent} is {record.state}: see to that first")
        await self.principals.rotate(context, _AGENT, agent)
        baseline = await self._unlearned(context, agent, _because(incident))
        approved_at = incident.asked.approved_at if incident.asked is not None else 0.0
        since = await self.contained_since(incident.subject, approved_at)
        if since:  # while this went on
            raise Problem("PC7067", since)
        lifted = await self._lifted(context, incident, ("kill", "quarantine"))
        try:
            token = await self.entries.join(context, _AGENT, agent)
        except Problem:
            await self._killed(context, incident)  # nobody is let in by halves
            raise
        facts: Facts = {"lifted": lifted, "baseline": baseline, "probation_days": _days(incident)}
        return facts | _told(await self.feed.acknowledged(ACKNOWLEDGE_SECONDS)), token

    async def close(self, context: Context, incident: Incident) -> Facts:
        """Make sure that it never comes back: an agent is revoked, a session is closed already."""
        if incident.subject.session:
            return {"ended": "closed"}
        record = await self.principals.get(_AGENT, incident.subject.agent)
        if record.state is not State.REVOKED:
            await self.principals.change(context, _AGENT, record.id, Verb.REVOKE)
        return {"ended": "revoked"}

    async def stand_down(self, context: Context, incident: Incident) -> Facts:
        """Take back what the incident itself contained, unless somebody did so again since."""
        own = incident.made and any(
            (one.scope, one.value) == (incident.subject.kind, incident.subject.value)
            and one.isolation == (incident.containing == "quarantine")
            and one.reason == _because(incident)
            for one in await self.feed.kept()
        )
        if not own:
            return {"lifted": []}
        return {"lifted": await self._lifted(context, incident, (incident.containing,))}

    async def _killed(self, context: Context, incident: Incident) -> Facts:
        subject = incident.subject
        done = await self.kills.kill(context, subject.kind, subject.value, _because(incident))
        if not (done.recorded and done.durable):
            said = "; ".join(f"{one.code}: {one.detail}" for one in done.faults)
            raise Problem("PC7068", said or "the kill is not on record for good")
        return {"cancelled": done.cancelled} | _told(done.gateways)

    async def _closed(self, context: Context, subject: Subject) -> int:
        await self.sessions.settle()
        count = 0
        for session in self.sessions.opened():
            if subject.session == session.id or (
                not subject.session and session.agent == subject.agent
            ):
                await _unless_gone(self.closing.close(context, session.id))
                count += 1
        return count

    def _presented(self, agent: str) -> Principal:
        """The agent, with a credential from a moment ago."""
        at = self.clock.now() - 0.001
        return Principal(kind=_AGENT, id=agent, credential="", expires_at=math.inf, issued_at=at)

    async def _tried(self, agent: str, before: Principal) -> Facts:
        """What becomes of whoever comes with what was good before. Raises Problem PC7069."""
        record = await self.principals.get(_AGENT, agent)
        standing = [one for one in self.feed.standings() if one.key == (_AGENT.value, agent)]
        outdated = any(one.rotated >= record.rotated_at > 0 for one in standing)
        if record.state is not State.REVOKED and not outdated:
            raise Problem("PC7069", "its credentials are as good as before")
        if self.feed.reason(before, None) is None:
            raise Problem("PC7069", "a credential from before is let in")
        try:
            await self.principals.present(_AGENT, agent)
        except Problem as problem:
            if problem.code != "PC4001":  # that says nothing of the agent
                raise Problem("PC7068", f"it cannot be tried: {problem.detail}") from None
            refused = problem.code
        else:
            raise Problem("PC7069", "a new credential is to be had")
        if await self.entries.list(_AGENT, agent):
            raise Problem("PC7069", "it is registered still")
        return {"old_credential": "PC4001", "new_credential": refused, "registrations": 0}

    async def _unlearned(self, context: Context, agent: str, reason: str) -> str:
        if self.behaving is None:
            return "none"
        try:
            await self.behaving.reset(context, agent, reason)
        except Problem as problem:
            if problem.code != "PC3090":  # nothing was ever learned of it
                raise
            return "none"
        return "reset"

    async def _lifted(
        self, context: Context, incident: Incident, hows: tuple[Containing, ...]
    ) -> list[str]:
        """Take back what of these stands against it; what did."""
        subject, reason = incident.subject, _because(incident)
        lifted: list[str] = []
        for how in hows:
            if not await self.contained(subject, how, lasting=False):
                continue
            if how == "kill":
                await self.kills.undo(context, subject.kind, subject.value, reason)
            else:
                await self.quarantining.end(context, subject.kind, subject.value, reason)
            lifted.append(how)
        return lifted


async def _unless_gone(work: Coroutine[Any, Any, None]) -> None:
    """Take something away, which may have gone by itself meanwhile."""
    try:
        await work
    except Problem as problem:
        if problem.code != "PC2010":
            raise


def _because(incident: Incident) -> str:
    """Why, as whoever is contained may read it."""
    return f"incident {incident.id}"


def _days(incident: Incident) -> int:
    return incident.asked.days if incident.asked is not None else 0


def _told(gateways: tuple[Told, ...]) -> Facts:
    """Who acted, and who did not say so."""
    acted = {
        one.gateway: round(one.acknowledged, 1) for one in gateways if one.acknowledged is not None
    }
    silent = [one.gateway for one in gateways if one.acknowledged is None]
    return {"acknowledged_ms": acted, "silent": silent}


def facts_of(facts: Facts) -> Facts:
    """Facts as JSON keeps them."""
    found: Facts = msgspec.json.decode(msgspec.json.encode(facts))
    return found
