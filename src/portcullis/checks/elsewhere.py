"""Validate and authorize for others: somebody else acts on a yes, where that is all there is."""

from __future__ import annotations

import msgspec

from portcullis.checks.authorize import Authorize
from portcullis.checks.validate import Validate
from portcullis.core.call import Action, Call, Context
from portcullis.core.egress import Way
from portcullis.core.obligation import Obligations
from portcullis.core.verdict import PASS, Allow, Deny, Verdict


class AuthorizeElsewhere(Authorize):
    """The same decision, unless its grant obliges the gate to what only the gate does."""

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """As ``Authorize``; Deny PC3035 for an Allow that asks for masks, humans and the like.

        So does one for a tunnel in which the gate would read every request.
        """
        verdict = super().judge(call, context, facts)
        if not isinstance(verdict, Allow):
            return verdict
        if _unread(call, verdict):
            reason = "only the gate reads what is in this tunnel: ask about each request in it"
        elif _obliging(verdict):
            reason = "the grant obliges the gate to more than a yes"
        else:
            return verdict
        return Deny(
            code="PC3035",
            reason=reason,
            rule=verdict.rule,
            risk=verdict.risk,
            policy=verdict.policy,
        )


class ValidateElsewhere(Validate):
    """The same of a tool that the gate knows; of any other, policy alone decides."""

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """As ``Validate``, by the definition that is known here: who asks shows none."""
        if call.action is not Action.TOOL:
            return PASS
        known = self._inventory.tool(call.server, call.name)
        if known is None:
            return PASS
        return super().judge(msgspec.structs.replace(call, tool=known), context, facts)


def _obliging(verdict: Allow) -> bool:
    owed = verdict.obligations
    return owed is not None and msgspec.structs.replace(owed, log=()) != Obligations()


def _unread(call: Call, verdict: Allow) -> bool:
    terms = verdict.egress
    tunnel = call.action is Action.EGRESS and call.arguments.get("way") != Way.REQUEST.value
    return tunnel and terms is not None and terms.terminate
