"""Unusual: what an agent that behaves otherwise than it used to would change, a human sees first.

The level is as last scored from the log, by whoever learns (``oversight.behaviour``): it is about
the agent, not about this call. Reads go on, and so do model calls, without which an agent cannot
even say what it is doing; what tools change, send or delete waits, with the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from portcullis.checks.authorize import on_behalf
from portcullis.core.behaviour import LEVELS, RiskLevel, RiskLevels
from portcullis.core.call import Action, Call, Context, RiskClass
from portcullis.core.check import Check
from portcullis.core.containment import ToolModel
from portcullis.core.verdict import PASS, Hold, Verdict
from portcullis.provenance import rules


class Catalogue(Protocol):
    """What policy says that a tool means; None for one that it does not list."""

    def model(self, server: str, tool: str) -> ToolModel | None: ...  # noqa: D102 - see above


class Reasons(Protocol):
    """Why an agent's score is what it is, for people: at most a few short lines."""

    def reasons(self, agent: str) -> tuple[str, ...]: ...  # noqa: D102 - see above


class Unusual(Check):
    """Holds the effects of agents whose level is ``hold_at`` or higher.

    That is also so for a call on behalf of such an agent.
    """

    name: ClassVar[str] = "unusual"

    def __init__(
        self, levels: RiskLevels, reasons: Reasons, catalogue: Catalogue, hold_at: RiskLevel
    ) -> None:
        self._levels = levels
        self._reasons = reasons
        self._catalogue = catalogue
        self._hold_at = LEVELS[hold_at]

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Hold an effect of a tool; what an agent's call means is the policy's word."""
        del facts
        if call.action is not Action.TOOL:
            return PASS
        for one in on_behalf(context):
            agent = one.principal.id
            level = self._levels.level(agent)
            if LEVELS[level] >= self._hold_at and self._effect(call.server, call.name, call):
                return Hold(
                    reason=f"the behaviour of {agent} is unusual: its risk is {level}",
                    questions=tuple(f"unusual: {one}" for one in self._reasons.reasons(agent)),
                    rule="behaviour",
                )
        return PASS

    def _effect(self, server: str, tool: str, call: Call) -> bool:
        model = self._catalogue.model(server, tool)
        arguments: Mapping[str, Any] = call.arguments
        return model is None or rules.risk(model, arguments) is not RiskClass.READ
