"""Deciding on calls that wait, for operators: recorded durably before it takes effect."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from portcullis.config import Approvals as Settings
from portcullis.control.records import Records
from portcullis.core.approval import Approval, Shown, State, Verb, after
from portcullis.core.approval_ports import ApprovalStore
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Directory, Sealer
from portcullis.core.principal import PrincipalKind
from portcullis.oversight.approvers import Asked, Ruled, qualified, ruled
from portcullis.oversight.eyes import answering, four_eyes, known_as, same_person
from portcullis.oversight.freezing import freezes
from portcullis.oversight.sealing import unseal

MOST_LISTED: Final = 1000
_ENDING: Final = (State.PENDING, State.APPROVED)


@dataclass(frozen=True, slots=True)
class ApprovalParts:
    """What waits. Whoever decides, or lets something expire, has ``deciding``.

    ``key`` is what the calls are bound under, 32 bytes that are always the same. ``environment`` is
    the gate's.
    """

    store: ApprovalStore
    settings: Settings
    key: bytes = field(repr=False)
    environment: str = "production"
    deciding: asyncio.Lock = field(default_factory=asyncio.Lock)


class Approving:
    """Lists, shows and decides. ``route`` is as in ``Principals``."""

    def __init__(
        self,
        *,
        parts: ApprovalParts,
        directory: Directory,
        sealer: Sealer,
        records: Records,
        clock: Clock,
        route: str,
    ) -> None:
        self._store = parts.store
        self._settings = parts.settings
        self._deciding = parts.deciding
        self._environment = parts.environment
        self._directory = directory
        self._sealer = sealer
        self._records = records
        self._clock = clock
        self._route = route

    async def list(self, states: Collection[State]) -> tuple[Approval, ...]:
        """The newest 1000 of these states, the oldest of them first."""
        wanted = {*states, *(_ENDING if State.EXPIRED in states else ())}
        found = await asyncio.to_thread(self._store.list, wanted, MOST_LISTED)
        return tuple(one for one in map(self._now, found) if one.state in states)

    async def frozen(self) -> tuple[str, ...]:
        """The agents that may not ask any more."""
        return await asyncio.to_thread(self._store.frozen)

    async def get(self, approval_id: str) -> Approval:
        """An approval without the call. Raises Problem PC3047 when there is none."""
        return await self._get(approval_id)

    async def show(self, context: Context, approval_id: str) -> tuple[Approval, Shown | None]:
        """An approval and, until it is decided, the call; that it is read is durable first.

        Raises Problem PC3047 when there is none.
        """
        approval = await self._get(approval_id)
        shown = await self._shown(approval)
        if shown is not None:
            said = {"agent": approval.agent, "session": approval.session}
            await self._act(context, "approval.read", approval, said)
        return approval, shown

    async def rules(
        self, context: Context, approval: Approval, shown: Shown | None
    ) -> tuple[Ruled, ...]:
        """The rules about who may approve this call, now; ``you`` is who asks.

        None of one that waits no longer.
        """
        if shown is None or approval.state is not State.PENDING:
            return ()
        known = await asyncio.to_thread(known_as, self._directory, context.principal.id)
        asked = Asked(
            approval=approval,
            shown=shown,
            owners=await self._answer(shown),
            environment=self._environment,
            now=self._clock.now(),
        )
        return ruled(self._settings.rules, self._settings.teams, asked, known)

    async def hindrance(
        self, context: Context, approval: Approval, shown: Shown | None
    ) -> Problem | None:
        """Why whoever asks may not approve this call now; None where he may, or it is decided."""
        if shown is None or approval.state is not State.PENDING:
            return None
        try:
            await self._expect_may(context, approval, shown)
        except Problem as problem:
            return problem
        return None

    async def approve(
        self, context: Context, approval_id: str, reason: str, binding: str = ""
    ) -> Approval:
        """Let the call through, once; the first of two leaves it pending.

        Raises Problem PC3042, PC3046, PC3047, PC3055, PC3080.
        """
        async with self._deciding:
            approval = await self._bound(approval_id, binding)
            after(approval.state, Verb.APPROVE)
            shown = await self._shown(approval)
            if shown is None:
                raise Problem("PC3042", "what was asked is not there any more")
            rules = await self._expect_may(context, approval, shown)
            if shown.approvers > 1 and not approval.endorsed_by:
                return await self._endorse(context, approval, reason, rules)
            return await self._decide(context, approval, Verb.APPROVE, reason, rules)

    async def deny(
        self, context: Context, approval_id: str, reason: str, binding: str = ""
    ) -> Approval:
        """Let the call not through, or not any more. Raises Problem PC3042, PC3047, PC3055.

        An agent of which too much was denied may ask for nothing more, itself or through others.
        """
        async with self._deciding:
            found = await self._bound(approval_id, binding)
            denied = await self._decide(context, found, Verb.DENY, reason)
            for agent in dict.fromkeys((denied.agent, *denied.chain)):
                await self._freeze(context, agent)
            return denied

    async def lift(self, context: Context, agent: str, reason: str) -> None:
        """Let an agent ask again. Raises Problem PC3042 when it may."""
        async with self._deciding:
            if agent not in await self.frozen():
                raise Problem("PC3042", "the agent may ask")
            name = f"agent:{agent}"
            said = {"reason": reason}
            await self._records.act(
                context, "approval.lifted", name, route=self._route, parameters=said
            )
            await asyncio.to_thread(self._store.lift, agent, self._clock.now())

    async def _endorse(
        self, context: Context, approval: Approval, reason: str, rules: tuple[str, ...]
    ) -> Approval:
        said = _said(approval, reason, rules)
        await self._act(context, "approval.endorsed", approval, said)
        now, by = self._clock.now(), context.principal.id
        found = await asyncio.to_thread(
            lambda: self._store.endorse(approval.id, now=now, by=by, reason=reason)
        )
        if found is None:
            raise Problem("PC3042", "it was settled meanwhile: nothing was changed")
        return found

    async def _expect_may(
        self, context: Context, approval: Approval, shown: Shown
    ) -> tuple[str, ...]:
        """The rules by which this operator may approve the call. Raises Problem PC3046, PC3080."""
        operator = context.principal.id
        owners = () if self._settings.owner_may_approve else await self._owners(shown)
        known = await asyncio.to_thread(known_as, self._directory, operator)
        four_eyes(operator, shown.user, owners, known)
        rules = qualified(await self.rules(context, approval, shown))
        first = approval.endorsed_by
        if not first:
            return rules
        if await asyncio.to_thread(same_person, self._directory, operator, first):
            raise Problem("PC3046", "the approver has approved it already: somebody else has to")
        return rules

    async def _decide(
        self,
        context: Context,
        approval: Approval,
        verb: Verb,
        reason: str,
        rules: tuple[str, ...] = (),
    ) -> Approval:
        state = after(approval.state, verb)
        said = _said(approval, reason, rules)
        await self._act(context, f"approval.{state}", approval, said)
        now, by = self._clock.now(), context.principal.id
        first = approval.endorsed_by if verb is Verb.APPROVE else ""
        moved = await asyncio.to_thread(
            lambda: self._store.move(approval.id, verb, now=now, by=by, reason=reason, after=first)
        )
        if moved is None:
            raise Problem("PC3042", "it was settled meanwhile: nothing was changed")
        return moved

    async def _freeze(self, context: Context, agent: str) -> None:
        now = self._clock.now()
        since = now - self._settings.refusals_seconds
        denials = await asyncio.to_thread(self._store.denials, agent, since)
        if not freezes(denials, self._settings) or agent in await self.frozen():
            return
        await asyncio.to_thread(self._store.freeze, agent, now)
        said = {"denials": denials}
        await self._records.act(
            context, "approval.frozen", f"agent:{agent}", route=self._route, parameters=said
        )

    async def _bound(self, approval_id: str, binding: str) -> Approval:
        """The approval; with a ``binding``, Problem PC3055 unless that is its call's."""
        approval = await self._get(approval_id)
        if binding and not hmac.compare_digest(binding.encode(), approval.binding.encode()):
            raise Problem("PC3055", "the decision is about another call")
        return approval

    async def _get(self, approval_id: str) -> Approval:
        found = await asyncio.to_thread(self._store.get, approval_id)
        if found is None:
            raise Problem("PC3047", "there is no approval of this id")
        return self._now(found)

    def _now(self, approval: Approval) -> Approval:
        """The approval as it is now: whose time is over has expired, recorded or not."""
        if approval.state in _ENDING and approval.expires_at <= self._clock.now():
            return msgspec.structs.replace(approval, state=State.EXPIRED)
        return approval

    async def _shown(self, approval: Approval) -> Shown | None:
        sealed = await asyncio.to_thread(self._store.sealed, approval.id)
        return unseal(self._sealer, approval.id, sealed)

    async def _owners(self, shown: Shown) -> tuple[str, ...]:
        owners = (owner for owner in await self._answer(shown) if owner is not None)
        return tuple(one for owner in owners for one in answering(owner, self._settings.teams))

    async def _answer(self, shown: Shown) -> tuple[str | None, ...]:
        """Who answers for each of the call's agents, None for one that nobody registered."""
        records = [
            await asyncio.to_thread(self._directory.get, PrincipalKind.AGENT, agent)
            for agent in shown.agents
        ]
        return tuple(None if record is None else record.owner for record in records)

    async def _act(
        self, context: Context, method: str, approval: Approval, said: dict[str, Any]
    ) -> None:
        await self._records.act(
            context,
            method,
            approval.id,
            route=self._route,
            parameters=said,
            approval=approval.id,
        )


def _said(approval: Approval, reason: str, rules: tuple[str, ...]) -> dict[str, Any]:
    """What the record of a decision says; ``rules`` are those that let the approver decide."""
    said = {"agent": approval.agent, "session": approval.session, "reason": reason}
    return said | ({"rules": list(rules)} if rules else {})
