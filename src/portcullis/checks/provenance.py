"""Provenance: a call goes where the user's words or trusted fields say, or a human is asked.

What is judged, and by which rules, is pure and stands in ``portcullis.provenance``; here the
session's words and labels are fetched, and what results teach is written down before they go on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import msgspec

from portcullis.checks.authorize import on_behalf
from portcullis.core.call import Action, Call, Context, Result
from portcullis.core.check import Check
from portcullis.core.containment import (
    Confidentiality,
    Containment,
    ToolModel,
    Treatment,
)
from portcullis.core.principal import Session
from portcullis.core.verdict import PASS, Allow, Deny, Hold, Verdict
from portcullis.provenance import judge
from portcullis.provenance.canonical import Words
from portcullis.provenance.labels import Labels, reading
from portcullis.provenance.ports import LabelState

_WORDS: Final = 256
"""Sessions whose words are kept prepared."""
_NOBODY: Final = Words()
_READS: Final = frozenset({Action.RESOURCE, Action.PROMPT})


class Catalogue(Protocol):
    """What policy says of tools; ``containment`` is None where it wants no provenance."""

    def model(self, server: str, tool: str) -> ToolModel | None: ...  # noqa: D102 - see above
    def containment(self, context: Context) -> Containment | None: ...  # noqa: D102 - see above


class _Facts(NamedTuple):
    containments: tuple[Containment, ...]
    words: Words
    labels: Labels


class Provenance(Check):
    """Asks about what has no source."""

    name: ClassVar[str] = "provenance"

    def __init__(self, catalogue: Catalogue, labels: LabelState) -> None:
        self._catalogue = catalogue
        self._labels = labels
        self._words: OrderedDict[tuple[str, int], Words] = OrderedDict()

    async def prepare(self, call: Call, context: Context) -> _Facts | None:
        """The session's words and labels, when policy wants this call judged."""
        containments = self._containments(context)
        if call.action is not Action.TOOL or not containments:
            return None
        session = context.session
        if session is None:
            return _Facts(containments, _NOBODY, reading(Confidentiality.SECRET))
        return _Facts(containments, self._said(session), await self._labels.read(session))

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Hold or deny (PC3060) what has no source; raise the risk to what the arguments say."""
        if not isinstance(facts, _Facts):
            return PASS
        model = self._catalogue.model(call.server, call.name)
        grant = None if context.session is None else context.session.grant
        found = judge.assess(model, call.arguments, facts.words, facts.labels, grant)
        treatment = _strictest(one.treatment(found) for one in facts.containments)
        if treatment is Treatment.ALLOW:
            return Allow(risk=found.risk)
        kinds = ", ".join(dict.fromkeys(question.kind for question in found.questions))
        reason = f"without a source: {kinds}"
        if treatment is Treatment.DENY:
            return Deny(code="PC3060", reason=reason, rule="containment", risk=found.risk)
        questions = tuple(
            " ".join(filter(None, (one.kind, one.argument))) + f": {one.reason}"
            for one in found.questions
        )
        return Hold(reason=reason, questions=questions, rule="containment", risk=found.risk)

    async def prepare_result(self, call: Call, context: Context, result: Result) -> object:
        """Learn from what came back; what is learned is durable before it goes on."""
        session = context.session
        if session is None or not self._containments(context):
            return None
        if call.action is Action.TOOL:
            model = self._catalogue.model(call.server, call.name)
            learned = judge.learn(model, content(result.payload), Labels())
            if result.is_error or aside(result.payload):
                learned = learned.merge(reading(judge.level(model)))
            if result.is_error:  # it may say the agent's own words
                learned = reading(learned.confidentiality)
            await self._labels.merge(session, learned)
        elif call.action in _READS:
            await self._labels.merge(session, reading(Confidentiality.CONFIDENTIAL))
        return None

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """Nothing is said of it: it has been learned from."""
        del call, context, result, facts
        return PASS

    async def approved(self, call: Call, context: Context) -> None:
        """A human approved this call: its values are trusted, in this session, in their roles."""
        if call.action is not Action.TOOL:
            return
        if context.session is not None and self._containments(context):
            model = self._catalogue.model(call.server, call.name)
            learned = judge.approve(model, call.arguments, Labels())
            await self._labels.merge(context.session, learned)

    def _containments(self, context: Context) -> tuple[Containment, ...]:
        """What policy says for the caller, and for each agent that it acts for."""
        found = (self._catalogue.containment(one) for one in on_behalf(context))
        return tuple(one for one in found if one is not None)

    def _said(self, session: Session) -> Words:
        """The user's words, prepared once for each turn."""
        key = session.id, len(session.turns)
        words = self._words.get(key)
        if words is None:
            words = self._words[key] = Words.of((*session.prompts, *_vouched(session)))
            if len(self._words) > _WORDS:
                self._words.popitem(last=False)
        self._words.move_to_end(key)
        return words


def _vouched(session: Session) -> Iterator[str]:
    """What the application says the session is about is as good as the user's words."""
    for value in session.subject.values():
        if isinstance(value, str | int) and not isinstance(value, bool):
            yield str(value)


def _strictest(treatments: Iterable[Treatment]) -> Treatment:
    return max(treatments, key=list(Treatment).index)


def content(payload: Any) -> Any:
    """What a tool's result says (MCP ``CallToolResult``): its structure, else its texts.

    A text that is JSON counts as what it means. Several texts are a list. An object that holds
    nothing but a ``result`` is how servers wrap what is no object, and counts as that.
    """
    if not isinstance(payload, dict):
        return payload
    structured = payload.get("structuredContent")
    if isinstance(structured, dict) and structured.keys() == {"result"}:
        return structured["result"]
    if structured is not None:
        return structured
    blocks = payload.get("content")
    texts = [
        _meant(block["text"])
        for block in (blocks if isinstance(blocks, list) else ())
        if isinstance(block, dict) and isinstance(block.get("text"), str)
    ]
    return texts[0] if len(texts) == 1 else texts


def aside(payload: Any) -> bool:
    """Whether a tool says anything beside what ``content`` reads."""
    blocks = payload.get("content") if isinstance(payload, dict) else None
    if not isinstance(blocks, list):
        return False
    if any(not isinstance(one, dict) or one.get("type") != "text" for one in blocks):
        return True
    if payload.get("structuredContent") is None:
        return False
    said = content({**payload, "structuredContent": None})
    return said not in ([], "", content(payload), payload["structuredContent"])


def _meant(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return text
