"""Answered: what an agent tells a server beside the arguments of its calls goes out too.

Where policy has ``containment:``, nothing but the protocol's own goes out in ``_meta``, in an
error or as the words of a progress, and what is answered to a server's questions is judged as
arguments of the tool that asks. Answers that come with a call (MCP 2026-07-28) are judged with it,
by ``Provenance``; an answer that goes out by itself is judged here. Nobody can be asked about that
one, since its call runs: what would be held is denied (PC3060).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from portcullis.checks.provenance import Catalogue, Facts, Provenance, strictest
from portcullis.core.call import Action, Call, Context, Result
from portcullis.core.check import Check
from portcullis.core.containment import Assessment, QuestionKind, Treatment
from portcullis.core.verdict import PASS, Deny, Transform, Verdict
from portcullis.provenance import judge
from portcullis.wire import mcp_answers

_FROM_AGENT: Final = frozenset(Action) - {Action.MODEL, Action.SERVER_REQUEST}


class _Answer(NamedTuple):
    """``facts`` are None where there is nothing to judge."""

    fields: Mapping[str, Any]
    facts: Facts | None


class Answered(Check):
    """Keeps ``_meta`` bare and judges answers."""

    name: ClassVar[str] = "answered"

    def __init__(self, catalogue: Catalogue, provenance: Provenance) -> None:
        self._catalogue = catalogue
        self._provenance = provenance

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Take out of a message what is not the protocol's."""
        del facts
        if call.action not in _FROM_AGENT or not isinstance(call.payload, dict):
            return PASS
        if not self._provenance.containments(context):
            return PASS
        payload = mcp_answers.bare(call.payload)
        return PASS if payload == call.payload else Transform(payload=payload)

    async def prepare_result(self, call: Call, context: Context, result: Result) -> _Answer | None:
        """What is answered to a server's request, and what it is judged by."""
        if call.action is not Action.SERVER_REQUEST or not self._provenance.containments(context):
            return None
        fields = {} if result.is_error else mcp_answers.said(call.name, result.payload)
        judged = bool(fields and call.within)
        return _Answer(fields, await self._provenance.facts(context) if judged else None)

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """Deny (PC3060) an answer that has no source; an error says no more than that it is one."""
        if not isinstance(facts, _Answer):
            return PASS
        if facts.facts is not None:
            denied = self._denied(call.within, context, facts.fields, facts.facts)
            if denied is not None:
                return denied
        bare = mcp_answers.refusal if result.is_error else mcp_answers.plain
        payload = bare(result.payload)
        return PASS if payload == result.payload else Transform(payload=payload)

    def _denied(
        self, calls: Iterable[Call], context: Context, fields: Mapping[str, Any], facts: Facts
    ) -> Deny | None:
        """By the strictest of the calls that may have asked."""
        for call in calls:
            found = self._assess(call, context, fields, facts)
            treatment = strictest(one.treatment(found) for one in facts.containments)
            if treatment is not Treatment.ALLOW:
                kinds = ", ".join(dict.fromkeys(one.kind for one in found.questions))
                reason = f"an answer without a source: {kinds}"
                return Deny(code="PC3060", reason=reason, rule="containment", risk=found.risk)
        return None

    def _assess(
        self, call: Call, context: Context, fields: Mapping[str, Any], facts: Facts
    ) -> Assessment:
        """What there is to ask that was not decided on when the call began.

        That something is confidential may have been learned since: it is asked anew.
        """
        grant = None if context.session is None else context.session.grant
        tool = call.action is Action.TOOL
        model = self._catalogue.model(call.server, call.name) if tool else None
        about = (model, call.arguments if tool else {}, facts.words, facts.labels, grant)
        before = {(one.kind, one.argument) for one in judge.assess(*about).questions}
        whole = judge.assess(*about, fields)
        new = tuple(
            one
            for one in whole.questions
            if one.kind is QuestionKind.CONFIDENTIAL
            or one.argument.startswith(judge.ANSWER)
            or (one.kind, one.argument) not in before
        )
        return whole if model is None else msgspec.structs.replace(whole, questions=new)
