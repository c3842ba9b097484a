"""Inspect: what goes in and out is read, and treated as policy wants it.

Texts and documents are read on the way to and from models and tools. What is found becomes a
mask, a digest, a placeholder or a refusal; on the way back from a model, placeholders become
values again. Content from tools and documents reaches a model in the session's envelope.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Final, cast

from portcullis.checks import output
from portcullis.checks.authorize import on_behalf
from portcullis.checks.content import Content, read
from portcullis.checks.growing import LONG, Scorers, Sight, beginning
from portcullis.checks.looking import HELD, OPAQUE, Look, Seen, clear, look, refused, scored
from portcullis.checks.planted import Planted
from portcullis.checks.restore import ARGUMENTS
from portcullis.checks.rules import RuleBook, Rules, whose
from portcullis.checks.shapes import Change, fitted
from portcullis.checks.streaming import StreamTexts
from portcullis.checks.treat import Substitutes
from portcullis.core.call import Action, Call, Context, Result, RiskClass
from portcullis.core.check import Check, StreamJudge
from portcullis.core.errors import Problem
from portcullis.core.inspection import (
    Channel,
    Path,
    Source,
    Treatment,
    request_channel,
    result_channel,
)
from portcullis.core.inspection_ports import Extractor, Vault, Vaults
from portcullis.core.ports import Inventory, PolicyDecisionPoint
from portcullis.core.principal import subject_key
from portcullis.core.verdict import PASS, Deny, Finding, Hold, Transform, Verdict
from portcullis.inspection.canary import Canaries
from portcullis.inspection.inspector import Inspector
from portcullis.inspection.patterns import Patterns
from portcullis.inspection.reading import Wanted
from portcullis.wire.texts import decided, replaced, request_texts, result_texts, where

_STRUCTURED: Final[Path] = ("structuredContent",)
_OWN_ARGUMENTS: Final = frozenset({Action.TOOL, Action.PROMPT})
_GREETINGS: Final = frozenset({"initialize", "server/discover"})
"""In whose results a server says of itself what it likes."""
_NAMING: Final = frozenset({"CONNECT", "DNS"})
"""Methods of egress that name a host."""
_WITHIN: Final = frozenset({RiskClass.READ, RiskClass.MODIFY})
"""Risks of tools that keep what they are given within the house."""


@dataclass(frozen=True, slots=True)
class Means:
    """What inspection works with. ``commit`` is a keyed digest of a subject's value, in hex.

    ``vaults`` are the sessions', ``passing`` those of calls outside of any session: their agent
    may serve many users, and what one wrote must not come back to another.
    """

    pdp: PolicyDecisionPoint
    book: RuleBook
    inspector: Inspector
    patterns: Patterns
    scorers: Scorers
    canaries: Canaries
    extractor: Extractor
    vaults: Vaults
    passing: Vaults
    inventory: Inventory
    planted: Planted
    commit: Callable[[str, bytes], str]


class Inspect(Check):
    """Stands after authorize: what policy refuses is not read, what changes is not decided on."""

    name: ClassVar[str] = "inspect"

    def __init__(self, means: Means) -> None:
        self._means = means
        self._schemas = output.Schemas()
        self._brief: dict[frozenset[str], Patterns] = {}

    async def prepare(self, call: Call, context: Context) -> object:
        """The content of the request, or the Deny of more than can be read."""
        if context.session is not None:
            await self._means.vaults.refresh(context.session.id, context.session.opened_at)
        if call.stream:
            await self._warm(context)
        return await self._content(*request_texts(call))

    async def prepare_result(self, call: Call, context: Context, result: Result) -> object:
        """The content of the result; a streamed one was judged as it came."""
        del context
        if result.payload is None:
            return Content(texts=())
        return await self._content(*result_texts(call, result.payload))

    async def _warm(self, context: Context) -> None:
        """Have what a stream is read with compiled, the first time, beside the loop."""
        entities = self._means.book.rules(context).wanted(Channel.FROM_MODEL)
        if entities and entities not in self._brief:
            await asyncio.to_thread(self._compiled, entities)

    def _compiled(self, entities: frozenset[str]) -> Patterns:
        """The rules for these entities whose data may be short, ready for streams as all are."""
        found = self._brief.get(entities)
        if found is None:
            patterns = self._means.patterns.only(entities)
            patterns.stream()
            found = patterns.only(patterns.brief(LONG))
            found.stream()
            self._brief[entities] = found
        return found

    async def _content(self, texts: Sequence[Any], blobs: Sequence[Any]) -> Content | Deny:
        try:
            return await read(texts, blobs, self._means.extractor)
        except Problem as problem:
            return Deny(code=problem.code, reason=problem.detail)

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Deny PC3020 to PC3025, or the request as it may go on, perhaps once a human says so."""
        channel = request_channel(call.action)
        return self._treated(call, context, channel, call.payload, facts, asked=True)

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """The same for what came back, and PC3028 for an answer that breaks its schema."""
        if result.payload is None:
            return PASS
        channel = result_channel(call.action)
        error = result.is_error and channel is Channel.FROM_MODEL
        verdict = self._treated(call, context, channel, result.payload, facts, error=error)
        if isinstance(verdict, Deny) or channel is not Channel.FROM_MODEL:
            return verdict
        payload = verdict.payload if isinstance(verdict, Transform) else result.payload
        return self._unfit(call, context, result, payload) or verdict

    def judge_stream(self, call: Call, context: Context) -> StreamJudge | None:
        """Who reads a model's streamed answer."""
        if call.action is not Action.MODEL:
            return None
        means, channel, session = self._means, Channel.FROM_MODEL, whose(context)
        rules = means.book.rules(context)
        entities = rules.wanted(channel)
        allowed = rules.injection(Source.MODEL) is Treatment.ALLOW
        schema = context.session.output_schema if context.session else None
        validator = None if schema is None else self._schemas.validator(schema)
        at_once = bool(entities) and allowed and schema is None and rules.rewrites(channel)
        sight = Sight(
            inspector=means.inspector,
            patterns=means.patterns.only(entities) if entities else None,
            brief=self._compiled(entities) if at_once else None,
            scorers=None if allowed else means.scorers,
            canaries=means.canaries if rules.canaries else None,
            canary=beginning(means.canaries.marker),
            entities=entities,
            session=session,
        )
        how = self._look(call, context, channel, rules)
        return StreamTexts(how, sight, schema=validator, asked=call.payload)

    def _treated(
        self,
        call: Call,
        context: Context,
        channel: Channel,
        payload: Any,
        facts: object,
        *,
        asked: bool = False,
        error: bool = False,
    ) -> Verdict:
        if isinstance(facts, Deny):
            return facts
        content = cast("Content", facts)
        rules = self._means.book.rules(context)
        try:
            seen = self._seen(call, context, channel, content, rules, error=error)
            denied = refused(seen.findings)
            if denied is not None and not (asked and denied.code == HELD):
                return denied
            new = self._rewritten(call, channel, payload, seen)
            if channel is Channel.TO_MODEL:
                new = self._means.planted.marked(call, new, content, rules, whose(context))
        except Problem as problem:
            return Deny(code=problem.code, reason=problem.detail)
        if denied is not None:
            return _held(call, denied, new, payload)
        if new is payload and not seen.findings:
            return PASS
        arguments = _arguments(call, new) if channel is Channel.TO_TOOL else None
        return Transform(payload=new, arguments=arguments, findings=tuple(seen.findings))

    def _seen(
        self,
        call: Call,
        context: Context,
        channel: Channel,
        content: Content,
        rules: Rules,
        *,
        error: bool,
    ) -> Seen:
        wanted = Wanted(
            entities=rules.wanted(channel),
            injection=scored(content.texts, rules),
            canaries=rules.canaries,
            session=whose(context),
        )
        if _a_name(call, content):
            readings = [self._means.inspector.name(content.texts[0], wanted)]
            if readings[0].nothing:
                return Seen()
        else:
            readings = self._means.inspector.read(content.texts, wanted)
        if clear(content.texts, readings) and not content.opaque:
            if context.session is not None:
                self._vault(call, context)  # it is in use
            return Seen()
        how = self._look(call, context, channel, rules, content.fixed)
        how = replace(how, error=True) if error else how
        seen = look(content.texts, readings, how)
        if content.opaque:
            treatment = self._opaque(call, context, channel, rules)
            seen.findings += [
                Finding(type=OPAQUE, where=where(blob.path), treatment=treatment)
                for blob in content.opaque
            ]
        return seen

    def _look(
        self,
        call: Call,
        context: Context,
        channel: Channel,
        rules: Rules,
        fixed: frozenset[Path] = frozenset(),
    ) -> Look:
        subject = subject_key(context.principal, context.session)
        return Look(
            channel=channel,
            rules=rules,
            substitutes=Substitutes(
                self._vault(call, context), partial(self._means.commit, subject)
            ),
            wrap=partial(self._means.planted.wrapped, session=whose(context)),
            fixed=fixed,
            listing=call.action is Action.LIST or call.method in _GREETINGS,
        )

    def _vault(self, call: Call, context: Context) -> Vault:
        if context.session is None:
            return self._means.passing.vault(call.id)
        return self._means.vaults.vault(context.session.id, context.session.opened_at)

    def _opaque(self, call: Call, context: Context, channel: Channel, rules: Rules) -> Treatment:
        """Towards a tool it is a question only where the tool acts on the world outside."""
        treatment = rules.opaque(channel)
        if channel is Channel.TO_TOOL and treatment is not Treatment.ALLOW:
            decision = self._means.pdp.decide(call, on_behalf(context)[0])
            if decision.risk in _WITHIN:
                return Treatment.ALLOW
        return treatment

    def _rewritten(self, call: Call, channel: Channel, payload: Any, seen: Seen) -> Any:
        """The payload with what was found replaced. Raises Problem PC3021 when it cannot be."""
        if not seen.changes and not seen.names:
            return payload
        under = _schema_place(call, channel)
        if channel is request_channel(call.action):
            for path in (*seen.changes, *seen.names):
                if decided(call, path):
                    raise Problem("PC3021", f"{where(path)} was decided on as it is")
        changes: dict[Path, Any] = {path: c.plain for path, c in seen.changes.items()}
        if under is not None and call.action is Action.TOOL:
            changes |= self._fitted(call, payload, under, seen.changes, seen.names)
        return replaced(payload, changes, seen.names)

    def _fitted(
        self,
        call: Call,
        payload: Any,
        under: Path,
        changes: Mapping[Path, Change],
        names: Mapping[Path, str],
    ) -> dict[Path, Any]:
        """What the tool's schema lets stand there."""
        inventory, depth = self._means.inventory, len(under)
        spec = call.tool
        inner = {path[depth:]: c for path, c in changes.items() if _in(path, under)}
        renamed = {path[depth:]: name for path, name in names.items() if _in(path, under)}
        if spec is None or not (inner or renamed):
            return {}
        request = under == ARGUMENTS
        value = payload["params"]["arguments"] if request else payload["structuredContent"]

        def fits(new: Mapping[Path, Any]) -> bool:
            other = replaced(value, new, renamed)
            if request:
                return not inventory.validate(call.server, call.name, other)
            return not inventory.validate_output(call.server, spec, other)

        chosen = fitted(inner, spec.input_schema if request else spec.output_schema, fits)
        if chosen is None:
            places = ", ".join(where(path) for path in list(inner)[:8])
            raise Problem("PC3021", f"no mask fits the tool's schema: {places}")
        return {under + path: value for path, value in chosen.items()}

    def _unfit(self, call: Call, context: Context, result: Result, payload: Any) -> Deny | None:
        """The Deny of a final answer that breaks the schema its session declared."""
        schema = context.session.output_schema if context.session else None
        if schema is None or result.is_error or not output.speaks(call.method):
            return None
        called = {proposal.choice for proposal in result.proposals}
        try:
            validator = self._schemas.validator(schema)
        except Problem as problem:
            return Deny(code=problem.code, reason=problem.detail)
        answers = [
            (output.choice_of(place), text.text)
            for text in result_texts(call, payload)[0]
            if text.source is Source.MODEL and output.is_answer(place := where(text.path))
        ]
        silent = output.silent(call.payload, called | {choice for choice, _ in answers})
        unfit = (output.unfit(validator, said) for choice, said in answers if choice not in called)
        return silent or next(filter(None, unfit), None)


def _a_name(call: Call, content: Content) -> bool:
    """Whether a host's name, which policy allows, is all that there is to read."""
    egress = call.action is Action.EGRESS and call.method in _NAMING
    return egress and [text.path for text in content.texts] == [("host",)]


def _held(call: Call, denied: Deny, new: Any, payload: Any) -> Hold:
    """A request that a human may let through: with what is held as it is, and the rest treated."""
    then = None if new is payload else Transform(payload=new, arguments=_arguments(call, new))
    return Hold(
        reason=denied.reason,
        questions=tuple(f"May this be sent: {found}?" for found in denied.reason.split("; ")),
        findings=denied.findings,
        then=then,
    )


def _arguments(call: Call, payload: Any) -> dict[str, Any] | None:
    """A tool's arguments, or a prompt's, within what is sent."""
    return payload["params"].get("arguments", {}) if call.action in _OWN_ARGUMENTS else None


def _in(path: Path, under: Path) -> bool:
    return path[: len(under)] == under


def _schema_place(call: Call, channel: Channel) -> Path | None:
    """Where in a payload stands what a tool's schema is about."""
    if call.action not in _OWN_ARGUMENTS:
        return None
    return ARGUMENTS if channel is Channel.TO_TOOL else _STRUCTURED
