"""OPA's data API (openpolicyagent.org, REST API): a rule is asked for its value."""

from __future__ import annotations

from portcullis.core.call import Action, Call, Context
from portcullis.core.opinion_ports import Inputs
from portcullis.execution.pdp.asking import Asking


class OpaOpinion:
    """Implements ``core.opinion_ports.SecondOpinion``.

    It is sent ``{"input": ...}`` with the input document of our own decisions, so that a bundle
    that ``policy build`` made can be what it decides by. The rule is true, or an object whose
    ``allow`` is; an undefined one (no ``result``) says no.
    """

    def __init__(
        self, name: str, actions: frozenset[Action], asking: Asking, inputs: Inputs
    ) -> None:
        self.name = name
        self.actions = actions
        self._asking = asking
        self._inputs = inputs

    async def allows(self, call: Call, context: Context) -> bool:
        """See SecondOpinion."""
        question = self._inputs.question(call, context)
        answer = await self._asking.post(b'{"input":%b}' % question)
        if not isinstance(answer, dict):
            raise self._asking.wrong("answers with no object")
        if "result" not in answer:
            return False
        result = answer["result"]
        allow = result.get("allow") if isinstance(result, dict) else result
        if not isinstance(allow, bool):
            raise self._asking.wrong("answers with neither true nor false")
        return allow
