"""Budget: a session has as many tool calls, and as many effects, as its application gave it.

A call takes its own when it is about to be forwarded, after everybody else has let it through: what
is denied or held takes nothing. What becomes of the call afterwards gives nothing back.
"""

from __future__ import annotations

from typing import ClassVar

from portcullis.core.call import Action, Call, Context, RiskClass
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.principal import Measure, Session
from portcullis.core.session_ports import Spending


class Budget(Check):
    """Counts the calls of sessions that have a budget. Stands last of those that see calls off."""

    name: ClassVar[str] = "budget"

    def __init__(self, spending: Spending) -> None:
        self._spending = spending

    async def holding(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Nobody is asked about a call, and no approval is consumed, when nothing is left for it.

        Raises what ``going`` does.
        """
        session = _limited(call, context)
        if session is None:
            return
        left = await self._spending.left(session)
        for measure in _cost(risk):
            if left.get(measure) == 0:
                raise _used_up(measure)

    async def going(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Take what the call costs; calls that the gate itself makes cost nothing.

        Raises Problem PC3061 when nothing is left, PC2006 when the session has ended, PC9002 when
        it cannot be counted.
        """
        session = _limited(call, context)
        if session is None:
            return
        over = await self._spending.take(session, _cost(risk))
        if over is not None:
            raise _used_up(over)


def _limited(call: Call, context: Context) -> Session | None:
    """The session whose budget the call counts on, if any."""
    session = context.session
    if session is None or not session.budget:
        return None
    return session if call.action is Action.TOOL and not call.looked_up_for else None


def _cost(risk: RiskClass) -> tuple[Measure, ...]:
    return ("calls",) if risk is RiskClass.READ else ("calls", "effects")


def _used_up(measure: Measure) -> Problem:
    return Problem("PC3061", f"the session's budget of {measure} is used up")
