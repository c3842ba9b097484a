"""Isolate: of whoever is quarantined, what policy lists goes on, and nothing else.

It stands right after containment, so that nothing is done for what is refused anyway. What a call
does is not known there; that a listed tool only reads is seen when the call is about to go, at the
highest risk that anybody saw in it. A listed model is asked without its provider's tools. Whoever
is isolated may list, and is shown what remains; its sessions may begin and end. Everything else is
denied, or where policy says so a human is asked about each call: what he lets through runs, and its
answer is passed on.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, ClassVar, Final

from portcullis.core.call import Action, Call, Context, Result, RiskClass
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.ports import KillFeed
from portcullis.core.quarantine import QUARANTINE, QuarantineRules
from portcullis.core.verdict import PASS, Allow, Deny, Hold, Transform, Verdict

_REASON: Final = "in quarantine only what policy lists goes on"
"""What the agent hears; why it is there is for operators."""
_DENIED: Final = Deny(code="PC4010", reason=_REASON)
_FREE: Final = frozenset({Action.LIST, Action.PROTOCOL})
"""What an isolated agent may always do: it changes nothing, and tells what remains."""
_SERVERS: Final = frozenset({Action.SERVER_REQUEST})
"""What a server asks of the client is not put before a human."""
_TELLING: Final = frozenset(
    {"notifications/message", "notifications/progress", "notifications/resources/updated"}
)
"""What a server says beside its answers that holds content; of a call that is listed it goes on."""
_MEMBERS: Final = {
    "tools": "tools",
    "prompts": "prompts",
    "resources": "resources",
    "resource_templates": "resourceTemplates",
}
_BETAS: Final = re.compile(r"(openai|anthropic)\.beta\.").match
"""A model's features that are but another version of its API. Any other acts, or reads, at the
provider's, where nobody sees it."""
_APPROVED: Final = 4096
"""Most calls under way that a human let through, of which it is remembered."""


class Isolate(Check):
    """Also an ``Observer``: it forgets what a human let through once that has ended."""

    name: ClassVar[str] = "isolate"

    def __init__(self, feed: KillFeed, rules: QuarantineRules) -> None:
        self._feed = feed
        self._rules = rules
        self._approved: OrderedDict[str, None] = OrderedDict()

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Deny PC4010, or Hold, what is not on the list."""
        del facts
        reason = self._feed.isolated(context.principal, context.session)
        if reason is None or self._listed(call):
            return PASS
        if self._rules.quarantine().otherwise == "hold" and call.action not in _SERVERS:
            return Hold(reason=_REASON, questions=(f"{QUARANTINE}: {reason}",))
        return _DENIED

    async def holding(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Nobody is asked about what would be refused afterwards."""
        reason = self._feed.isolated(context.principal, context.session)
        if reason is not None and self._rules.quarantine().otherwise != "hold":
            self._must_read(call, risk)

    async def approved(self, call: Call, context: Context, approval: str) -> None:
        """Remember what a human let through, knowing of the quarantine."""
        del approval
        if self._feed.isolated(context.principal, context.session) is None:
            return
        self._approved[call.id] = None
        if len(self._approved) > _APPROVED:
            self._approved.popitem(last=False)

    async def going(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Of what is listed, let through what only reads; else Problem PC4010."""
        reason = self._feed.isolated(context.principal, context.session)
        if reason is not None and not self._let(call):
            self._must_read(call, risk)

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """Withhold what is not on the list, and of a list what does not remain."""
        del facts
        reason = self._feed.isolated(context.principal, context.session)
        if reason is None or self._let(call):
            return PASS
        if not self._listed(call):
            return _DENIED
        return PASS if call.action is not Action.LIST else self._remaining(call, result)

    def judge_chunk(self, call: Call, context: Context) -> Verdict:
        """The same before each piece of a stream."""
        reason = self._feed.isolated(context.principal, context.session)
        if reason is None or self._let(call) or self._listed(call):
            return PASS
        return _DENIED

    def decided(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """See Observer."""
        del context
        if isinstance(verdict, Deny):
            self._approved.pop(call.id, None)

    def finished(
        self, call: Call, context: Context, result: Result | None, problem: Deny | None
    ) -> None:
        """See Observer."""
        del context, result, problem
        self._approved.pop(call.id, None)

    def _listed(self, call: Call) -> bool:
        if call.method in _TELLING:
            return bool(call.within) and all(map(self._listed, call.within))
        if call.action in _FREE:
            return True
        rules = self._rules.quarantine()
        if call.action is Action.MODEL:
            return rules.asks(call.name) and all(map(_BETAS, call.features))
        return call.action is Action.TOOL and rules.reads_with(call.server, call.name)

    def _let(self, call: Call) -> bool:
        """Whether a human let it through, where that counts."""
        return call.id in self._approved and self._rules.quarantine().otherwise == "hold"

    def _must_read(self, call: Call, risk: RiskClass) -> None:
        if call.action is not Action.TOOL or (risk is RiskClass.READ and self._listed(call)):
            return
        raise Problem(_DENIED.code, _DENIED.reason)

    def _remaining(self, call: Call, result: Result) -> Verdict:
        """Of the tools of a list, those that may be called; of anything else nothing remains."""
        payload, member = result.payload, _MEMBERS.get(call.name, "")
        if result.is_error or not isinstance(payload, dict):
            return PASS
        entries = payload.get(member)
        if not isinstance(entries, list):
            return PASS  # another check says what is wrong with it
        kept = [one for one in entries if call.name == "tools" and self._remains(call.server, one)]
        return PASS if len(kept) == len(entries) else Transform(payload={**payload, member: kept})

    def _remains(self, server: str, entry: Any) -> bool:
        name = entry.get("name") if isinstance(entry, dict) else None
        return isinstance(name, str) and self._rules.quarantine().reads_with(server, name)
