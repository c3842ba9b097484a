"""Authorize: the policy decides on the call, and an agent is shown only what it may use."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from portcullis.core.call import Action, Call, Context, Result
from portcullis.core.check import Check
from portcullis.core.ports import PolicyDecisionPoint
from portcullis.core.verdict import PASS, Deny, Transform, Verdict

_LISTS: Final = {
    "tools": ("tools", "name"),
    "prompts": ("prompts", "name"),
    "resources": ("resources", "uri"),
    "resource_templates": ("resourceTemplates", "uriTemplate"),
}
"""Kind of list -> the member of the result that holds it, and what names an entry (MCP)."""


class Authorize(Check):
    """Asks the PDP. Its Allow carries rule, risk and the arguments that may be logged."""

    name: ClassVar[str] = "authorize"

    def __init__(self, pdp: PolicyDecisionPoint) -> None:
        self._pdp = pdp

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """The PDP's decision."""
        del facts
        return self._pdp.decide(call, context)

    def judge_result(self, call: Call, context: Context, result: Result) -> Verdict:
        """Of a list, leave what the agent may use; an entry without a name is left out."""
        if call.action is not Action.LIST or result.is_error:
            return PASS
        if call.name not in _LISTS:
            return Deny(code="PC5003", reason="a list of an unknown kind")
        member, key = _LISTS[call.name]
        payload = result.payload
        if not isinstance(payload, dict) or not isinstance(payload.get(member), list):
            return Deny(code="PC5003", reason=f"the result has no list {member}")
        entries: list[Any] = payload[member]
        names = [_name(entry, key) for entry in entries]
        wanted = [name for name in names if name is not None]
        shown = self._pdp.visible(call.name, call.server, wanted, context) if wanted else ()
        kept = [entry for entry, name in zip(entries, names, strict=True) if name in shown]
        return PASS if len(kept) == len(entries) else Transform(payload={**payload, member: kept})


def _name(entry: Any, key: str) -> str | None:
    name = entry.get(key) if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None
