"""Authorize: the policy decides on the call, and an agent is shown only what it may use.

A token's scope and the agents on whose behalf the caller acts can only narrow that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

import msgspec

from portcullis.checks.aside import Aside
from portcullis.checks.listed import Listed, addressed
from portcullis.core.call import Action, Call, Context, Result
from portcullis.core.check import Check
from portcullis.core.obligation import joined
from portcullis.core.ports import PolicyDecisionPoint
from portcullis.core.scope import covers
from portcullis.core.verdict import PASS, Allow, Deny, Transform, Verdict

_LISTS: Final = {
    "tools": ("tools", "name", "tool"),
    "prompts": ("prompts", "name", "prompt"),
    "resources": ("resources", "uri", "resource"),
    "resource_templates": ("resourceTemplates", "uriTemplate", "resource"),
}
"""Kind of list -> the member of the result that holds it, what names an entry (MCP), and the
scope's word for an entry."""
_SCOPED: Final = {
    Action.MODEL: ("model",),
    Action.TOOL: ("tool",),
    Action.RESOURCE: ("resource",),
    Action.PROMPT: ("prompt",),
    Action.COMPLETE: ("prompt", "resource"),
    Action.EGRESS: ("egress",),
}
"""The actions that a scope is about, and its words for what they name."""


class Authorize(Check):
    """Asks the PDP. Its Allow carries rule, risk and the arguments that may be logged.

    ``aside`` is how it asks what may take long.
    """

    name: ClassVar[str] = "authorize"

    def __init__(self, pdp: PolicyDecisionPoint, aside: Aside | None = None) -> None:
        self._pdp = pdp
        self.aside = aside or Aside(pdp)
        self._listed = Listed()

    async def prepare(self, call: Call, context: Context) -> object:
        """The verdicts up to the first denial, where they may take long; else None."""
        if not self.aside.wanted(context) or _beyond(call, context) is not None:
            return None
        verdicts = list[Allow | Deny]()
        for asker in on_behalf(context):
            verdicts.append(await self.aside.decide(call, asker))
            if isinstance(verdicts[-1], Deny):
                break
        return verdicts

    def _verdicts(self, call: Call, context: Context, facts: object) -> Iterator[Allow | Deny]:
        """One after the other, of the caller and of whom it acts for."""
        if isinstance(facts, list):
            yield from facts
            return
        for asker in on_behalf(context):
            yield self._pdp.decide(call, asker)

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """The PDP's decision for the caller.

        Deny PC3013 when the call is outside the token's scope, PC3014 when policy does not allow
        it to an agent on whose behalf it is made, PC3001 for a resource that no server has listed,
        or a prompt with an address, that is allowed only because somebody is being observed.
        """
        beyond = _beyond(call, context)
        if beyond is not None:
            return beyond
        verdicts = self._verdicts(call, context, facts)
        verdict = next(verdicts)
        if isinstance(verdict, Deny):
            return verdict
        obliged = [verdict.obligations]
        for delegator, other in zip(context.principal.chain, verdicts, strict=True):
            if isinstance(other, Deny):
                reason = f"agent {delegator}: {other.code}: {other.reason}"
                return msgspec.structs.replace(other, code="PC3014", reason=reason)
            obliged.append(other.obligations)
            if other.observed:  # it goes on only because that one is observed
                verdict = msgspec.structs.replace(verdict, observed=True)
        if verdict.observed and (only := self._observes(call)):
            return _unobserved(verdict, only)
        if not any(obliged[1:]):
            return verdict
        return msgspec.structs.replace(verdict, obligations=joined(obliged))

    def _observes(self, call: Call) -> str:
        """What alone is let through of such calls while an agent is observed; empty if this is."""
        if not self._known(call):
            return "what the server has listed"
        return "prompts and completions without addresses" if _addressed(call) else ""

    def _known(self, call: Call) -> bool:
        """Whether the name of a resource is the server's, not one that an agent made up."""
        named = call.action is Action.RESOURCE
        named = named or (call.action is Action.COMPLETE and ":" in call.name)
        return not named or self._listed.has(call.server, call.name)

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """Of a list, leave what the agent may use; an entry without a name is left out."""
        del facts
        if call.action is not Action.LIST or result.is_error:
            return PASS
        if call.name not in _LISTS:
            return Deny(code="PC5003", reason="a list of an unknown kind")
        member, key, kind = _LISTS[call.name]
        payload = result.payload
        if not isinstance(payload, dict) or not isinstance(payload.get(member), list):
            return Deny(code="PC5003", reason=f"the result has no list {member}")
        entries: list[Any] = payload[member]
        names = [_name(entry, key) for entry in entries]
        named = [name for name in names if name is not None]
        self._listed.note(call.name, call.server, named)
        shown = self._shown(call.name, kind, call.server, named, context)
        kept = [entry for entry, name in zip(entries, names, strict=True) if name in shown]
        return PASS if len(kept) == len(entries) else Transform(payload={**payload, member: kept})

    def shows(self, context: Context, server: str, tool: str) -> bool:
        """Whether the caller may be shown a tool: some call of it could be allowed."""
        return bool(self._shown("tools", "tool", server, [tool], context))

    def _shown(
        self, listed: str, kind: str, server: str, names: Iterable[str], context: Context
    ) -> list[str]:
        scope = context.principal.scope
        shown = [name for name in names if scope is None or covers(scope, kind, server, name)]
        for asker in on_behalf(context):
            if shown:
                visible = self._pdp.visible(listed, server, shown, asker)
                shown = [name for name in shown if name in visible]
        return shown


def on_behalf(context: Context) -> tuple[Context, ...]:
    """The context as policy is asked: of the caller, and of each agent that it acts for.

    Each of them is asked about as if the session were its own, if it is that of one of them.
    """
    principal, session = context.principal, context.session
    agents = (principal.id, *principal.chain)
    if len(agents) == 1:
        return (context,)
    found = []
    for agent in agents:
        asked = msgspec.structs.replace(principal, id=agent, chain=())
        its = session
        if session is not None and session.agent in agents:
            its = msgspec.structs.replace(session, agent=agent)
        found.append(msgspec.structs.replace(context, principal=asked, session=its))
    return tuple(found)


def _beyond(call: Call, context: Context) -> Deny | None:
    """What is outside of the token's scope."""
    scope = context.principal.scope
    kinds = _SCOPED.get(call.action)
    if scope is not None and kinds is not None:
        server = "" if call.action is Action.MODEL else call.server
        if not any(covers(scope, kind, server, call.name) for kind in kinds):
            return Deny(code="PC3013", reason=f"the token's scope has no such {kinds[0]}")
    return None


def _addressed(call: Call) -> bool:
    """Whether an argument of a prompt, or of what is to be completed, is an address."""
    if call.action is Action.COMPLETE:
        return addressed([part for name, part in call.arguments.items() if name != "ref"])
    return call.action is Action.PROMPT and addressed(call.arguments)


def _unobserved(verdict: Allow, only: str) -> Deny:
    return Deny(
        code="PC3001",
        reason=f"not granted, and observed only in {only}",
        rule=verdict.rule,
        risk=verdict.risk,
        policy=verdict.policy,
    )


def _name(entry: Any, key: str) -> str | None:
    name = entry.get(key) if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None
