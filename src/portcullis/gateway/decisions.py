"""Decisions for others: an enforcement point of somebody else asks, and acts itself.

What it is told is what the gate would have done with the same call of the same agent: containment,
quarantine, the policy in force and where values come from, recorded before it is answered. Nothing
is forwarded, so nothing of a result is judged, and the session counts as having read whatever the
call may show; what a grant obliges the gate to do about one is
refused (``checks.elsewhere``), and so is what waits for a human.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec

from portcullis.config import NAME
from portcullis.core.call import Call, Context, Route
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.core.ports import Clock
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.session_ports import SessionState
from portcullis.core.verdict import Allow, Deny, Hold
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.tracing import Tracer, calling

_NAME: Final = re.compile(NAME)

Registered: TypeAlias = Callable[[str], Awaitable[object]]
"""Whether an agent of this name may act now. Raises Problem PC2007, PC4001, PC4002."""


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, as it was authenticated, and from where; ``traceparent`` as it was sent."""

    principal: Principal
    source: str
    trace_id: str
    traceparent: str = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. ``event`` is the id of its record, empty where it has none."""

    verdict: Allow | Deny
    event: str = ""


class Unasked:
    """Implements ``core.approval_ports.Approvals`` where nothing can wait: no human is asked."""

    async def ask(self, call: Call, context: Context, hold: Hold, granted: Allow) -> Allow | Deny:
        """Deny PC3035, for the reason for which it would have waited."""
        del call, context, granted
        return Deny(code="PC3035", reason=hold.reason, rule=hold.rule, risk=hold.risk)

    async def settled(self, approval_id: str, context: Context) -> bool:
        """Nothing ever is."""
        del approval_id, context
        return False

    def noted(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """Nobody approves later ones."""


class Decisions:
    """Asks a line that only decides. What is asked together takes at most ``seconds``.

    ``tracer`` draws the questions that are traced.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sessions: SessionState,
        registered: Registered,
        clock: Clock,
        seconds: float,
        tracer: Tracer | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._sessions = sessions
        self._registered = registered
        self._clock = clock
        self._seconds = seconds
        self._tracer = tracer

    def deadline(self) -> float:
        """When whoever asks now has to be answered, on the running loop's clock."""
        return asyncio.get_running_loop().time() + self._seconds

    async def decide(
        self, call: Call, agent: str, session: str, asker: Asker, until: float | None = None
    ) -> Decided:
        """Decide on a call of an agent's; whatever goes wrong is a Deny, and on record.

        ``until`` is the ``deadline`` of what is asked together; without it, this is all.
        """
        if not _NAME.fullmatch(agent):  # it may be anything, and no log holds that
            return self.refused(
                Problem("PC2007", "no agent has such a name"), call.route, "", asker
            )
        try:
            async with asyncio.timeout_at(self.deadline() if until is None else until):
                await self._registered(agent)
                untraced = await self._context(agent, session, asker)
                name, parent = call.route.value, asker.traceparent
                with calling(self._tracer, untraced, name, parent) as context:
                    outcome = await self._pipeline.request(call, context)
                    denied = None
                    if isinstance(outcome.verdict, Allow):
                        denied = await self._pipeline.elsewhere(outcome, context)
        except TimeoutError:
            return self.refused(Problem("PC3037", "no decision in time"), call.route, agent, asker)
        except Problem as problem:
            return self.refused(problem, call.route, agent, asker)
        return Decided(verdict=denied or outcome.verdict, event=outcome.event)

    def refused(self, problem: Problem, route: Route, agent: str, asker: Asker) -> Decided:
        """Record a question that never became a call."""
        agent = agent if _NAME.fullmatch(agent) else ""
        said = self._pipeline.refused(
            problem,
            EventType.DECISION,
            route=route.value,
            principal_kind=PrincipalKind.AGENT.value if agent else "",
            principal=agent,
            credential=asker.principal.credential,
            application=asker.principal.id,
            source=asker.source,
            trace_id=asker.trace_id,
        )
        return Decided(verdict=Deny(code=said.code, reason=said.detail))

    async def _context(self, agent: str, session: str, asker: Asker) -> Context:
        found: Session | None = None
        if session:
            found = await self._sessions.get(session)
            if found is None or found.agent != agent:
                raise Problem("PC2006", "the session is not an open one of this agent's")
        principal = Principal(
            kind=PrincipalKind.AGENT,
            id=agent,
            credential=asker.principal.credential,
            expires_at=asker.principal.expires_at,
            session=None if found is None else found.id,
            issued_at=self._clock.now(),
        )
        return Context(
            principal=principal,
            session=found,
            source=asker.source,
            trace_id=asker.trace_id,
            received_at=self._clock.now(),
        )
