"""Whether a scope is within what policy lets an agent use, asked before a token is issued."""

from __future__ import annotations

from typing import Final

from portcullis.checks.authorize import on_behalf
from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.ports import PolicyDecisionPoint
from portcullis.core.verdict import Allow

_LISTS: Final = {"tool": "tools", "resource": "resources", "prompt": "prompts"}


class Scopes:
    """Asks the PDP for each word, for the agent and for each agent on whose behalf it acts.

    A scope only narrows: what it names is decided again at every call. So ``tool:SERVER.*``,
    which stands for whatever policy grants there, is never beyond it.
    """

    def __init__(self, pdp: PolicyDecisionPoint) -> None:
        self._pdp = pdp

    def __call__(self, context: Context, words: tuple[str, ...]) -> bool:
        """Whether all of ``words`` (``core.scope``) may be used."""
        return all(self._usable(asker, word) for asker in on_behalf(context) for word in words)

    def _usable(self, context: Context, word: str) -> bool:
        kind, _, rest = word.partition(":")
        if kind == "model":
            return isinstance(self._pdp.decide(_model_call(rest), context), Allow)
        server, _, name = rest.partition(".")
        if kind == "egress" or (kind == "tool" and name == "*"):
            return True
        return name in self._pdp.visible(_LISTS[kind], server, [name], context)


def _model_call(name: str) -> Call:
    """A call of a model with nothing in it: policy decides on models by their names."""
    return Call(
        id="",
        route=Route.LLM_JSON,
        action=Action.MODEL,
        server="",
        name=name,
        method="",
        arguments={},
        payload={},
        body=b"{}",
    )
