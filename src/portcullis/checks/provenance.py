"""Provenance: a call goes where the user's words or trusted fields say, or a human is asked.

What is judged, and by which rules, is pure and stands in ``portcullis.provenance``; here the
session's words and labels are fetched, and what results teach is written down before they go on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import msgspec

from portcullis.checks.authorize import on_behalf
from portcullis.checks.spoken import Spoken
from portcullis.core.call import Action, Call, Context, Questions, Result
from portcullis.core.check import Check
from portcullis.core.containment import (
    Confidentiality,
    Containment,
    Look,
    ToolModel,
    Treatment,
)
from portcullis.core.principal import Session
from portcullis.core.verdict import PASS, Allow, Deny, Hold, Verdict
from portcullis.provenance import judge, learning, rules
from portcullis.provenance.labels import Labels, calling, reading
from portcullis.provenance.ports import LabelState
from portcullis.provenance.words import Words
from portcullis.wire.mcp_answers import said
from portcullis.wire.mcp_told import tells_nothing

_AGAIN: Final = 60.0
"""Seconds after which the same is looked up again."""
_LOOKED: Final = 4096
_MEMBERS: Final = frozenset(["content", "structuredContent", "isError", "resultType", "_meta"])
"""What the result of a tool consists of (MCP ``CallToolResult``)."""
_NOBODY: Final = Words()
_READS: Final = frozenset({Action.RESOURCE, Action.PROMPT})


class Catalogue(Protocol):
    """What policy says of tools; ``containment`` is None where it wants no provenance."""

    def model(self, server: str, tool: str) -> ToolModel | None: ...  # noqa: D102 - see above
    def containment(self, context: Context) -> Containment | None: ...  # noqa: D102 - see above


class Facts(NamedTuple):
    """What policy asks, what the user said, and what the session has learned."""

    containments: tuple[Containment, ...]
    words: Words
    labels: Labels


class Provenance(Check):
    """Asks about what has no source.

    For what results are good for that come out of a memory, see the check ``memory``. Those of
    the toolsets in ``unvouched`` are reported by the agent itself, and are good for nothing.
    """

    name: ClassVar[str] = "provenance"

    def __init__(
        self, catalogue: Catalogue, labels: LabelState, unvouched: Collection[str] = ()
    ) -> None:
        self._unvouched = frozenset(unvouched)
        self._catalogue = catalogue
        self._labels = labels
        self._looked: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._spoken = Spoken()

    async def prepare(self, call: Call, context: Context) -> Facts | None:
        """The session's words and labels, when policy wants this call judged."""
        judged = call.action is Action.TOOL or call.asked is not None
        return await self.facts(context) if judged and self.containments(context) else None

    async def facts(self, context: Context) -> Facts:
        """What calls of this session are judged by."""
        containments, session = self.containments(context), context.session
        if session is None:
            return Facts(containments, _NOBODY, reading(Confidentiality.SECRET))
        words = await self._spoken.words(session)
        return Facts(containments, words, await self._labels.read(session))

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Hold or deny (PC3060) what has no source; raise the risk to what the arguments say."""
        tool = call.action is Action.TOOL
        model = self._catalogue.model(call.server, call.name) if tool else None
        if not isinstance(facts, Facts):
            return _raised(model, call.arguments)
        arguments = call.arguments if tool else {}
        grant = None if context.session is None else context.session.grant
        answers = judge.NO_ANSWERS if call.asked is None else _answers(call, call.asked)
        found = judge.assess(model, arguments, facts.words, facts.labels, grant, answers)
        treatment = strictest(one.treatment(found) for one in facts.containments)
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
        labels = judge.sources(model, arguments, facts.words, facts.labels, answers)
        return Hold(
            reason=reason,
            questions=questions,
            labels=labels,
            rule="containment",
            risk=found.risk,
        )

    async def lookups(self, call: Call, context: Context) -> tuple[Look, ...]:
        """What may show a source of what has none; each is looked up once a minute."""
        model = self._catalogue.model(call.server, call.name)
        session = context.session
        judged = call.action is Action.TOOL and not call.looked_up_for
        if not judged or session is None or model is None or not self.containments(context):
            return ()
        facts = await self.facts(context)
        looks = judge.lookups(model, call.arguments, facts.words, facts.labels)
        return tuple(one for one in looks if self._new(session, call.server, one, context))

    def _new(self, session: Session, server: str, look: Look, context: Context) -> bool:
        """Whether this has not been looked up lately: what is not there will not be there soon."""
        key, now = (session.id, server, repr(look)), context.received_at
        if now - self._looked.pop(key, -_AGAIN) < _AGAIN:
            return False
        self._looked[key] = now
        if len(self._looked) > _LOOKED:
            self._looked.popitem(last=False)
        return True

    async def prepare_result(self, call: Call, context: Context, result: Result) -> object:
        """Learn from what came back; what is learned is durable before it goes on."""
        session = context.session
        if session is None or not self.containments(context):
            return None
        if call.action is Action.TOOL:
            model = self._catalogue.model(call.server, call.name)
            names = learning.awaited(call.arguments, await self._spoken.words(session))
            learned = learning.learn(model, content(result.payload), Labels(), names)
            if result.is_error or aside(result.payload):
                learned = learned.merge(reading(learning.level(model)))
            shared = model is not None and model.memory is not None
            if result.is_error or shared or not self.vouched(call):  # perhaps an agent's own words
                learned = reading(learned.confidentiality)
            if call.looked_up_for:  # the agent does not get it
                public = Confidentiality.PUBLIC
                learned = msgspec.structs.replace(learned, confidentiality=public)
            await self._labels.merge(session, learned)
        elif call.action in _READS:
            await self._labels.merge(session, reading(Confidentiality.CONFIDENTIAL))
        return None

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """Nothing is said of it: it has been learned from."""
        del call, context, result, facts
        return PASS

    async def approved(self, call: Call, context: Context, approval: str) -> None:
        """A human approved this call: its values are trusted, in this session, in their roles."""
        if call.action is not Action.TOOL:
            return
        if context.session is not None and self.containments(context):
            model = self._catalogue.model(call.server, call.name)
            learned = learning.approve(model, call.arguments, calling(approval))
            await self._labels.merge(context.session, learned)

    def vouched(self, call: Call) -> bool:
        """Whether anybody but the agent says what came back."""
        return call.server not in self._unvouched

    def end(self, is_open: Callable[[str], bool]) -> None:
        """Forget what the users of ended sessions said."""
        self._spoken.end(is_open)

    def containments(self, context: Context) -> tuple[Containment, ...]:
        """What policy says for the caller, and for each agent that it acts for."""
        found = (self._catalogue.containment(one) for one in on_behalf(context))
        return tuple(one for one in found if one is not None)


def _raised(model: ToolModel | None, arguments: Mapping[str, Any]) -> Allow:
    """Nothing to ask; but the arguments may make a higher class of the tool than it is of."""
    risk = None if model is None else rules.risk(model, arguments)
    return PASS if model is None or risk is model.risk else Allow(risk=risk)


def _answers(call: Call, asked: Questions) -> dict[str, Any]:
    """By field, all that the call's ``inputResponses`` say."""
    found: dict[str, Any] = {}
    for key, answer in call.payload["params"].get("inputResponses", {}).items():
        for name, value in said(asked.methods[key], answer).items():
            found.setdefault(name, []).append(value)
    return found


def strictest(treatments: Iterable[Treatment]) -> Treatment:
    """What all of them together call for."""
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
    """Whether a tool says anything beside what ``content`` reads, such as a question back."""
    if not isinstance(payload, dict):
        return False
    known = payload.keys() <= _MEMBERS and tells_nothing(payload.get("_meta"))
    if not known or payload.get("resultType", "complete") != "complete":
        return True
    if not isinstance(payload.get("isError", False), bool):
        return True
    blocks = payload.get("content", [])
    if not isinstance(blocks, list) or not all(map(_plain, blocks)):
        return True
    if payload.get("structuredContent") is None:
        return False
    said = content({**payload, "structuredContent": None})
    return said not in ([], "", content(payload), payload["structuredContent"])


def _plain(block: Any) -> bool:
    """Whether a block of content is a text and nothing more."""
    if not isinstance(block, dict) or not isinstance(block.get("text"), str):
        return False
    more = {name for name, value in block.items() if value is not None}
    return block.get("type") == "text" and more == {"type", "text"}


def _meant(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return text
