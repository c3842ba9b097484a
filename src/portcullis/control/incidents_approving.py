"""The second person of a reinstatement: who may approve it, and whether that still counts."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from portcullis.control.incidents_led import who
from portcullis.control.incidents_lists import Listed
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.incident import Asked, Incident, Step
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind
from portcullis.oversight.approvers import Beside, Ruled, qualified, ruled
from portcullis.oversight.eyes import answering, four_eyes, known_as

LOOK: Final = "Look at the incident again: it says what is proposed now."
_BINDING: Final = 16
"""Hexadecimal digits by which a proposal is known from others, and that a human can copy."""


class Approved(Listed):
    """Has somebody else approve what was proposed."""

    async def approve(
        self, context: Context, incident: str, reason: str, binding: str | None = None
    ) -> Incident:
        """Approve the reinstatement that was proposed, as a second person.

        With a ``binding`` it is that one and no other. Raises Problem PC3046 for whoever opened or
        proposed it, or answers for the agent, by whatever name, PC3080 for whom a rule does not
        name; PC7065 when nothing is proposed, PC7067 when the binding is of another.
        """
        async with self._parts.turn(incident):
            found = await self._expect(incident, Step.REINSTATE)
            asked = found.asked
            if asked is None:
                raise Problem("PC7065", "no reinstatement is proposed")
            if binding is not None and binding != binding_of(asked):
                raise Problem("PC7067", "another reinstatement was proposed meanwhile", hint=LOOK)
            by = context.principal.id
            rules = await self._expect_may(by, found, asked, self._clock.now())
            if asked.approved_by:
                return found
            said: dict[str, Any] = {"reason": reason, "proposed_by": asked.by}
            said |= {"days": str(asked.days), "factor": f"{asked.factor:g}"}
            said |= {"rules": list(rules)} if rules else {}
            await self._record(context, "approve", found, said)
            approved = replace(
                asked,
                approved_by=who(context),
                approved_at=self._clock.now(),
                approval_reason=reason,
            )

            def change(one: Incident) -> Incident:
                if one.asked != asked:
                    raise Problem("PC7067", "another reinstatement was proposed meanwhile")
                return replace(one, asked=approved)

            return await self._change(incident, change)

    async def rules(self, context: Context, found: Incident) -> tuple[Ruled, ...]:
        """The rules about who may approve that it works again; ``you`` is who asks.

        None of one whose agent is not reinstated any more.
        """
        if found.over or found.subject.session:
            return ()
        return await self._rules(context.principal.id, found, self._clock.now())

    async def hindrance(self, context: Context, found: Incident) -> Problem | None:
        """Why whoever asks may not approve what is proposed; None where he may, or nothing is."""
        if found.over or found.asked is None or found.asked.approved_by:
            return None
        try:
            await self._expect_may(context.principal.id, found, found.asked, self._clock.now())
        except Problem as problem:
            return problem
        return None

    async def _expect_good(self, context: Context, found: Incident, asked: Asked) -> None:
        """Raise Problem PC7067 when the approval is not good any more: then it is taken back.

        Whoever gave it is still somebody else and an operator, and nobody has cut off or isolated
        the agent since.
        """
        approver = _operator(asked.approved_by)
        why = await self._acts.contained_since(found.subject, asked.approved_at)
        record = await asyncio.to_thread(self._directory.get, PrincipalKind.OPERATOR, approver)
        if not why and record is not None and record.state is not State.ACTIVE:
            why = f"{approver} is {record.state}"
        if not why:
            try:
                await self._expect_may(approver, found, asked, asked.approved_at)
            except Problem as problem:
                why = problem.detail
        if not why:
            return
        said = {"approved_by": asked.approved_by, "reason": why}
        await self._record(context, "lapse", found, said)
        none = replace(asked, approved_by="", approved_at=0.0, approval_reason="")
        await self._change(found.id, lambda one: replace(one, asked=none))
        raise Problem("PC7067", f"the approval by {approver} does not count any more: {why}")

    async def _expect_may(
        self, approver: str, found: Incident, asked: Asked, at: float
    ) -> tuple[str, ...]:
        """The rules by which this operator may approve it at that time.

        Raises Problem PC3046, PC3080.
        """
        await self._expect_apart(approver, found, asked)
        return qualified(await self._rules(approver, found, at))

    async def _rules(self, approver: str, found: Incident, at: float) -> tuple[Ruled, ...]:
        settings = self._parts.approvals

        def asked() -> tuple[Ruled, ...]:
            record = self._directory.get(PrincipalKind.AGENT, found.subject.agent)
            about = Beside(
                kind="incident",
                agents=(found.subject.agent or None,),
                owners=(None if record is None else record.owner,),
                environment=self._parts.environment,
                now=at,
            )
            known = known_as(self._directory, approver)
            return ruled(settings.rules, settings.teams, about, known)

        return await asyncio.to_thread(asked)

    async def _expect_apart(self, approver: str, found: Incident, asked: Asked) -> None:
        """Raise Problem PC3046 unless the approver is somebody else than all these."""

        def names() -> tuple[tuple[str, ...], tuple[str, ...]]:
            others = [_operator(found.by), _operator(asked.by)]
            theirs = [name for one in others if one for name in known_as(self._directory, one)]
            settings = self._parts.approvals
            record = self._directory.get(PrincipalKind.AGENT, found.subject.agent)
            if record is not None and not settings.owner_may_approve:
                theirs += answering(record.owner, settings.teams)
            return tuple(theirs), known_as(self._directory, approver)

        theirs, own = await asyncio.to_thread(names)
        proposer = _operator(asked.by)
        try:
            four_eyes(approver, proposer, theirs, own)
        except Problem:
            detail = "whoever opened or proposed it, or answers for the agent, does not approve it"
            raise Problem("PC3046", detail) from None


def binding_of(asked: Asked) -> str:
    """What a form says of the proposal that it was made for, approved or not."""
    proposed = (asked.at, asked.by, asked.reason, asked.days, asked.factor)
    return hashlib.sha256(msgspec.json.encode(proposed)).hexdigest()[:_BINDING]


def _operator(who: str) -> str:
    """The operator's name of ``operator:NAME``; empty for what happened by itself."""
    kind, _, name = who.partition(":")
    return name if kind == PrincipalKind.OPERATOR else ""
