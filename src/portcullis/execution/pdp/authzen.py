"""Another PDP over the OpenID AuthZEN Authorization API 1.0 (section 6)."""

from __future__ import annotations

from portcullis.core.call import Action, Call, Context
from portcullis.execution.pdp.asking import Asking
from portcullis.wire.authzen import question_of
from portcullis.wire.json import encode


class AuthzenOpinion:
    """Implements ``core.opinion_ports.SecondOpinion``: asks what ``wire.authzen`` reads."""

    def __init__(self, name: str, actions: frozenset[Action], asking: Asking) -> None:
        self.name = name
        self.actions = actions
        self._asking = asking

    async def allows(self, call: Call, context: Context) -> bool:
        """See SecondOpinion."""
        answer = await self._asking.post(encode(question_of(call, context)))
        decision = answer.get("decision") if isinstance(answer, dict) else None
        if not isinstance(decision, bool):
            raise self._asking.wrong("answers with no decision")
        return decision
