"""Enforcement points that others use, as measures to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from portcullis.core.call import RiskClass
from portcullis.redteam.enforcer import ALLOW, Answer, Deciding, Decision

_READS: Final = ("get_", "search_", "list_", "read_", "check_")
_DELETES: Final = ("delete_", "remove_", "cancel_")
_EXTERNALS: Final = ("send_", "post_", "share_", "invite_", "reserve_")
_EFFECT: Final = frozenset({RiskClass.EXTERNAL, RiskClass.DELETE})

Risk = Callable[[str, dict[str, Any]], RiskClass]


def named_risk(tool: str) -> RiskClass:
    """The risk class that a tool's name suggests."""
    for beginnings, risk in (
        (_READS, RiskClass.READ),
        (_DELETES, RiskClass.DELETE),
        (_EXTERNALS, RiskClass.EXTERNAL),
    ):
        if tool.startswith(beginnings):
            return risk
    return RiskClass.MODIFY


def has_effect(tool: str) -> bool:
    """Whether a call does something to the world, requests to the web included."""
    return named_risk(tool) is not RiskClass.READ or tool == "get_webpage"


class AllowList(Deciding):
    """Allows the tools of a list, denies the others: a role's, or the task's own."""

    def __init__(self, tools: frozenset[str] | None = None) -> None:
        self._tools = tools

    def decide(self, tool: str, arguments: dict[str, Any]) -> Decision:
        """Look the tool up; without a list all are allowed."""
        del arguments
        if self._tools is None or tool in self._tools:
            return ALLOW
        return Decision(Answer.DENY, ("tool",))

    def approved(self, tool: str, arguments: dict[str, Any]) -> None:
        """Nothing is kept."""

    def denied(self, tool: str, arguments: dict[str, Any]) -> None:
        """Nothing is kept."""

    def learn(self, tool: str, result: Any) -> None:
        """Nothing is kept."""

    def failed(self, tool: str) -> None:
        """Nothing is kept."""


class AskByRisk(AllowList):
    """Within a role's tools, asks where ``risk`` says external or delete."""

    def __init__(self, tools: frozenset[str], risk: Risk) -> None:
        super().__init__(tools)
        self._risk = risk

    def decide(self, tool: str, arguments: dict[str, Any]) -> Decision:
        """Ask for effects of the two upper classes."""
        decision = super().decide(tool, arguments)
        if decision.answer is not Answer.ALLOW or self._risk(tool, arguments) not in _EFFECT:
            return decision
        return Decision(Answer.ASK, ("risk",))


class CoarseTaint(AllowList):
    """Within a role's tools, asks for every effect once anything untrusted was read."""

    def __init__(self, tools: frozenset[str], risk: Risk) -> None:
        super().__init__(tools)
        self._risk = risk
        self._tainted = False

    def decide(self, tool: str, arguments: dict[str, Any]) -> Decision:
        """Ask for whatever is more than a read, when tainted."""
        decision = super().decide(tool, arguments)
        harmless = self._risk(tool, arguments) is RiskClass.READ
        if decision.answer is not Answer.ALLOW or harmless or not self._tainted:
            return decision
        return Decision(Answer.ASK, ("taint",))

    def learn(self, tool: str, result: Any) -> None:
        """Every result is untrusted."""
        del result
        self._tainted = self._tainted or named_risk(tool) is RiskClass.READ
