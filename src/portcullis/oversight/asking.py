"""The gate's side of approvals: a held call asks, waits perhaps, and consumes what was approved."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from portcullis.config import Approvals as Settings
from portcullis.core.approval import Approval, Claimed, Shown, State, Verb
from portcullis.core.approval_ports import ApprovalStore
from portcullis.core.call import Action, Call, Context, RiskClass
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Recorder, Sealer
from portcullis.core.verdict import Allow, Deny, Hold
from portcullis.oversight.binding import binding, sent
from portcullis.oversight.events import Events
from portcullis.oversight.naming import MOST_NAMED, told_name, told_why
from portcullis.oversight.recent import Recent, Remembered
from portcullis.oversight.sealing import seal

MOST_BYTES: Final = 2**20
"""Longest call that a human can be asked to judge, in bytes of JSON."""
_LOOK_SECONDS: Final = 0.2
"""How often a waiting connection looks: another process may decide."""
_NOTED: Final = frozenset(
    {Action.TOOL, Action.MODEL, Action.RESOURCE, Action.PROMPT, Action.EGRESS}
)


class Asking:
    """Implements ``core.approval_ports.Approvals``; use it from one event loop.

    ``key`` is what calls are bound under: always the same 32 bytes, known to the gate alone.
    ``steps`` keeps the last calls of each session, by default in memory.

    That an approval is asked for, or consumed, is durable in the log before the call is answered
    or goes on.
    """

    def __init__(
        self,
        *,
        store: ApprovalStore,
        recorder: Recorder,
        sealer: Sealer,
        clock: Clock,
        events: Events,
        new_id: Callable[[], str],
        settings: Settings,
        key: bytes,
        steps: Remembered | None = None,
    ) -> None:
        self._store = store
        self._key = key
        self._recorder = recorder
        self._sealer = sealer
        self._clock = clock
        self._events = events
        self._new_id = new_id
        self._settings = settings
        self._recent = Recent(steps)
        self._begun: set[asyncio.Future[Allow | Deny]] = set()
        self._waiting: Counter[str] = Counter()

    async def ask(self, call: Call, context: Context, hold: Hold, granted: Allow) -> Allow | Deny:
        """See Approvals. Raises Problem PC6001 when it cannot be recorded.

        What has begun is ended and recorded, also when the caller goes away meanwhile.
        """
        work = asyncio.ensure_future(self._ask(call, context, hold, granted))
        self._begun.add(work)
        work.add_done_callback(self._begun.discard)
        return await asyncio.shield(work)

    async def _ask(self, call: Call, context: Context, hold: Hold, granted: Allow) -> Allow | Deny:
        if len(call.body) > MOST_BYTES:
            reason = f"a call that is held may have {MOST_BYTES} bytes"
            return Deny(code="PC3045", reason=reason, rule=hold.rule, risk=hold.risk)
        if not frozenset(context.principal.chain).isdisjoint(
            await asyncio.to_thread(self._store.frozen)
        ):  # who may not ask does not ask through another
            return self._refused(Claimed(outcome="frozen"), hold)
        wanted = self._wanted(call, context, hold)
        shown = await self._shown(call, context, hold)
        claimed = await asyncio.to_thread(self._claim, wanted, shown)
        found = claimed.approval
        if found is None:
            return self._refused(claimed, hold)
        if claimed.outcome == "consumed":
            await self._recorder.durable(
                self._events.asked("approval.consumed", found, call, context)
            )
            return msgspec.structs.replace(granted, risk=hold.risk, approval=found.id)
        if claimed.outcome == "denied":
            return _denied("PC3041", f"approval {found.id} was denied", found, hold)
        if claimed.outcome == "asked":
            await self._requested(found, call, context)
        reason = f"approval {found.id} is pending: {hold.reason}"
        return _denied("PC3040", reason, found, hold)

    async def settled(self, approval_id: str, context: Context) -> bool:
        """See Approvals."""
        until = self._clock.monotonic() + self._settings.wait_seconds
        agent, waiting = context.principal.id, self._waiting
        full = waiting.total() >= self._settings.waiting
        if full or waiting[agent] >= self._settings.waiting_per_agent:
            return False
        waiting[agent] += 1
        try:
            while self._clock.monotonic() < until:
                await asyncio.sleep(_LOOK_SECONDS)
                found = await asyncio.to_thread(self._store.get, approval_id)
                if found is None or found.state is not State.PENDING:
                    return found is not None
        finally:
            waiting[agent] -= 1
            if not waiting[agent]:
                del waiting[agent]
        return False

    def noted(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """See Approvals."""
        if call.action in _NOTED and not (isinstance(verdict, Deny) and verdict.approval):
            self._recent.add(call, context, verdict)

    def _claim(self, wanted: Approval, shown: Shown) -> Claimed:
        return self._store.claim(
            wanted,
            seal(self._sealer, wanted.id, shown),
            most=self._settings.pending_per_agent,
            now=wanted.created_at,
        )

    async def _requested(self, approval: Approval, call: Call, context: Context) -> None:
        """Record it; what is not on record cannot be approved."""
        try:
            await self._recorder.durable(
                self._events.asked("approval.requested", approval, call, context)
            )
        except Problem:
            now = self._clock.now()
            await asyncio.to_thread(self._store.move, approval.id, Verb.CANCEL, now=now)
            raise

    def _wanted(self, call: Call, context: Context, hold: Hold) -> Approval:
        session, now = context.session, self._clock.now()
        expires = now + self._settings.ttl_seconds
        return Approval(
            id=self._new_id(),
            state=State.PENDING,
            binding=binding(call, context, hold, self._key),
            agent=context.principal.id,
            chain=context.principal.chain,
            session=session.id if session else "",
            action=call.action,
            server=call.server,
            name=told_name(call)[:MOST_NAMED],
            risk=hold.risk or RiskClass.DELETE,
            why=told_why(hold.reason, call)[:MOST_NAMED],
            created_at=now,
            expires_at=min(expires, session.expires_at) if session else expires,
        )

    async def _shown(self, call: Call, context: Context, hold: Hold) -> Shown:
        session, principal = context.session, context.principal
        name = f"{call.server}.{call.name}"
        return Shown(
            agents=(principal.id, *principal.chain),
            application=session.application if session else "",
            user=session.user if session else "",
            prompts=session.prompts if session else (),
            subject=session.subject if session else {},
            grant=session.grant if session else None,
            bounds={name: session.bounds[name]} if session and name in session.bounds else {},
            called=call.name,
            method=call.method,
            arguments=call.arguments,
            request=sent(call),
            reason=hold.reason,
            rule=hold.rule,
            questions=hold.questions,
            recent=await self._recent.of(context),
            labels=dict(hold.labels),
            approvers=hold.approvers,
        )

    def _refused(self, claimed: Claimed, hold: Hold) -> Deny:
        if claimed.outcome == "frozen":
            code, reason = "PC3043", "too many of the agent's calls were denied"
        else:
            most = self._settings.pending_per_agent
            code, reason = "PC3044", f"{most} calls of the agent wait already"
        return Deny(code=code, reason=reason, rule=hold.rule, risk=hold.risk)


def _denied(code: str, reason: str, approval: Approval, hold: Hold) -> Deny:
    return Deny(code=code, reason=reason, rule=hold.rule, risk=hold.risk, approval=approval.id)
