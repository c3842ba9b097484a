"""Breakers: whoever did too much that went wrong, and whatever fails, gets no calls for a while.

Two checks over the same breakers. The agent's stands early: it is refused before anything else is
done for it. The upstream's stands late: how an upstream fares is not for those who may not use it.
"""

from __future__ import annotations

from typing import ClassVar

from portcullis.core.call import Call, Context, RiskClass
from portcullis.core.check import Check
from portcullis.core.verdict import PASS, Verdict
from portcullis.oversight.breaking import Breakers


class AgentBreaker(Check):
    """Refuses the calls of an agent whose breaker is open, or of one on whose behalf it acts."""

    name: ClassVar[str] = "agent-breaker"

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Deny PC5023 until the time in it."""
        del facts
        if self._breakers.quiet:
            return PASS
        return self._breakers.refusal(self._breakers.agents(call, context)) or PASS

    async def holding(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Nobody is asked about an effect while it is open: Problem PC5023."""
        if not self._breakers.quiet:
            self._breakers.held(self._breakers.agents(call, context), call, risk)

    async def going(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Let one read or model call through when the time is over; else Problem PC5023."""
        if not self._breakers.quiet:
            await self._breakers.going(self._breakers.agents(call, context), call, risk)


class UpstreamBreaker(Check):
    """Refuses calls to an upstream whose breaker is open."""

    name: ClassVar[str] = "upstream-breaker"

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Deny PC5022 until the time in it."""
        del facts
        if self._breakers.quiet:
            return PASS
        return self._breakers.refusal(self._breakers.upstreams(call, context)) or PASS

    async def holding(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Nobody is asked about an effect while it is open: Problem PC5022."""
        if not self._breakers.quiet:
            self._breakers.held(self._breakers.upstreams(call, context), call, risk)

    async def going(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Let one read or model call through when the time is over; else Problem PC5022."""
        if not self._breakers.quiet:
            await self._breakers.going(self._breakers.upstreams(call, context), call, risk)
