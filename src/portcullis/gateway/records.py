"""What the line writes: from calls, verdicts and results to audit events (law 6).

Argument values stand in the log only where the catalogue names the field as clear and the value
is a short scalar; everything else is a keyed commitment under the data subject's key. Names in
which inspection found something are not shown, nor are those of what was refused, maybe before
inspection, unless they are made of words.

Where content is kept, it is what went on: after placeholders were resolved and findings masked,
and only when no finding stands in it as it was. Of what was refused nothing is kept.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from portcullis.core.call import Action, Call, Context, Result, RiskClass
from portcullis.core.desk_ports import Precedents
from portcullis.core.errors import Problem
from portcullis.core.event import NOT_REQUIRED, OBSERVED, Event, EventType
from portcullis.core.inspection import Treatment
from portcullis.core.names import HIDDEN, made_of_words
from portcullis.core.obligation import MaskTreatment
from portcullis.core.ports import Clock, PolicyDecisionPoint, Recorder
from portcullis.core.principal import Principal, Proposal, Session, subject_key, user_key
from portcullis.core.record_ports import Contents
from portcullis.core.session_ports import SessionState
from portcullis.core.verdict import Allow, Deny, Finding
from portcullis.gateway.outcome import PENDING, Outcome
from portcullis.gateway.streamed import Room, Streamed
from portcullis.gateway.summary import summary
from portcullis.wire.json import decode, digest, encode

MAX_CLEAR: Final = 256
"""Longest clear string in a record, in characters; a longer one is committed to instead."""
MAX_NAMES: Final = 64
"""Most argument names in one record; the rest is covered by the commitment to the request."""

_HARMLESS: Final[frozenset[str]] = frozenset(
    {Treatment.TOKENISE, Treatment.MASK, Treatment.HASH, Treatment.STRIP, Treatment.WRAP}
    | {MaskTreatment.DROP}
)
"""Treatments after which no value of a finding's stands where it was found."""

_CONTENT: Final = frozenset({Action.MODEL, Action.TOOL, Action.RESOURCE, Action.PROMPT})
"""The actions of which content is kept, where it is."""

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""A name of an argument that is shown; of any other, its position is."""
_ARGUMENT_NAME: Final = "params.arguments.?"
"""Where something is found that stands in the name of an argument."""
_CALLED: Final = frozenset(
    {"params.name", "params.uri", "params.ref.name", "params.ref.uri", "uri", "model", "host"}
)
"""Where something is found that stands in the name of what is called."""
_NOWHERE: Final = frozenset[str]()
_DECISIONS: Final = {Action.TOOL: EventType.TOOL_CALL, Action.MODEL: EventType.LLM_CALL}
_RESULTS: Final = {Action.TOOL: EventType.TOOL_RESULT, Action.MODEL: EventType.LLM_RESULT}


def new_id() -> str:
    """An event's id: 32 hex digits, the first 12 the time in milliseconds, the rest random.

    It is unique and no secret, so no system call is spent on it.
    """
    return f"{time.time_ns() // 1_000_000:012x}{random.getrandbits(80):020x}"


def changed(gateway: str, clock: Clock, method: str, parameters: Mapping[str, Any]) -> Event:
    """Something that the gate's operators changed, from outside its APIs."""
    return Event(
        v=1,
        id=new_id(),
        time=datetime.fromtimestamp(clock.now(), UTC),
        type=EventType.ADMIN,
        gateway=gateway,
        method=method,
        parameters=dict(parameters),
        verdict="allow",
    )


class Records:
    """Builds the events of one gate; ``contents`` is where content is kept, if anywhere.

    Calls of the kinds and risks in ``flagged`` that pass without a human are to be looked at
    afterwards: where content is kept, the user for whom they were made is kept with it.
    ``precedents`` gets the arguments of approved calls, for those who approve the next ones.
    """

    def __init__(
        self,
        gateway: str,
        recorder: Recorder,
        sessions: SessionState,
        pdp: PolicyDecisionPoint,
        clock: Clock,
        contents: Contents | None = None,
        flagged: Collection[tuple[Action, RiskClass]] = (),
        precedents: Precedents | None = None,
    ) -> None:
        self._contents = contents
        self._precedents = precedents
        self._flagged = frozenset(flagged)
        self._room = Room()
        self._gateway = gateway
        self._commit = recorder.commitment
        self._sessions = sessions
        self._pdp = pdp
        self._clock = clock

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def streamed(self, call: Call) -> AbstractContextManager[Streamed | None]:
        """Gathers what the stream says that answers a call; None where it is not kept."""
        kept = self._contents and self._contents.results and call.action in _CONTENT
        return Streamed(self._room) if kept else nullcontext()

    async def decision(self, outcome: Outcome, context: Context) -> Event:
        """The leaf written before the call acts."""
        call: Call = outcome.call
        verdict = outcome.verdict
        principal, session = context.principal, context.session
        key = subject_key(principal, session)
        commitments = {"request": self._commit(key, call.body)}
        application = ""
        if session is not None:
            application = session.application
            commitments["user"] = self._commit(user_key(session), session.user.encode())
            commitments["subject"] = self._commit(key, encode(session.subject))
        if _named(outcome) == HIDDEN:
            commitments["name"] = self._commit(key, call.name.encode("utf-8", "surrogatepass"))
        parameters: dict[str, Any] = {}
        fields: dict[str, bytes] = {}
        proposed_by = ""
        if call.action is Action.TOOL:
            clear = () if isinstance(verdict, Deny) else verdict.clear
            secretive = _ARGUMENT_NAME in _places(outcome)
            for index, (name, value) in enumerate(list(call.arguments.items())[:MAX_NAMES]):
                if name in clear and _short(value):
                    parameters[name] = value
                else:
                    plain = not secretive and _PLAIN.fullmatch(name)
                    label = f"arguments.{name if plain else f'?{index}'}"
                    fields[label] = encode(value)
                    commitments[label] = self._commit(key, fields[label])
            proposal = await self._sessions.proposed(
                memory_key(principal, session),
                _model_names(call.server, call.name),
                digest(call.arguments),
            )
            proposed_by = proposal.event if proposal else ""
        else:
            fields["request"] = call.body
        observed = isinstance(verdict, Allow) and verdict.observed
        event = Event(
            v=1,
            id=outcome.event,
            time=self._time(),
            type=_DECISIONS.get(call.action, EventType.DECISION),
            gateway=self._gateway,
            trace_id=context.trace_id,
            principal_kind=principal.kind,
            principal=principal.id,
            credential=principal.credential,
            session=session.id if session else "",
            application=application,
            source=context.source,
            route=call.route,
            action=call.action,
            method=call.method,
            server=call.server,
            name=_named(outcome),
            parameters=parameters,
            commitments=commitments,
            request_bytes=len(call.body),
            features=tuple(
                one if made_of_words(one) else HIDDEN for one in call.features[:MAX_NAMES]
            ),
            risk=outcome.risk,
            verdict=_word_of(verdict),
            check=outcome.check,
            code=verdict.code if isinstance(verdict, Deny) else "",
            rule=verdict.rule,
            reason=verdict.reason,
            findings=_findings(outcome.findings) + ((OBSERVED,) if observed else ()),
            approval=verdict.approval or (NOT_REQUIRED if isinstance(verdict, Allow) else ""),
            review=(
                isinstance(verdict, Allow)
                and not verdict.approval
                and (call.action, outcome.risk) in self._flagged
            ),
            observed=observed,
            policy=verdict.policy or self._pdp.digest,
            proposed_by=proposed_by,
            looked_up_for=call.looked_up_for,
        )
        if self._contents and isinstance(verdict, Allow) and _keepable(call, outcome.findings):
            self._contents.keep(event, key, fields)
        if self._contents and event.review and session is not None:
            self._contents.keep(event, user_key(session), {"user": session.user.encode()})
        if self._precedents and verdict.approval and isinstance(verdict, Allow):
            self._precede(event, key, outcome)
        return event

    def _precede(self, event: Event, key: str, outcome: Outcome) -> None:
        """Keep what an approved call is like; of what was found in it, only what a human saw."""
        call: Call = outcome.call
        if self._precedents is None or call.action is not Action.TOOL or event.name == HIDDEN:
            return
        if _keepable(call, [one for one in outcome.findings if not _let_through(one)]):
            self._precedents.keep(event, key, call.arguments)
        else:
            self._precedents.pass_by(event)

    def unrecorded(self, event: str) -> None:
        """Keep no content of an event that did not get on record, or was refused after all."""
        if self._contents:
            self._contents.drop(event)
        if self._precedents:
            self._precedents.drop(event)

    def result(
        self,
        outcome: Outcome,
        context: Context,
        result: Result,
        denied: Deny | None,
        *,
        check: str,
        findings: tuple[Finding, ...],
    ) -> Event:
        """The leaf written after: sizes and outcome, never content."""
        usage = result.usage
        key, kept = subject_key(context.principal, context.session), dict[str, bytes]()
        stored = self._contents and self._contents.results and denied is None
        if stored and _keepable(outcome.call, findings):
            kept |= result.streamed
            if result.payload is not None:
                kept["result"] = encode(result.payload)
        event = self._after(
            outcome,
            context,
            commitments={name: self._commit(key, value) for name, value in kept.items()},
            verdict="deny" if denied else "allow",
            check=check if denied else "",
            code=denied.code if denied else "",
            reason=denied.reason if denied else "",
            findings=_findings(findings),
            result=summary(result),
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
        )
        if self._contents and kept:
            self._contents.keep(event, key, kept)
        return event

    def failure(
        self, outcome: Outcome, context: Context, problem: Problem, result: Result | None = None
    ) -> Event:
        """The leaf that is owed when an allowed call has no good result; with what had gone on."""
        return self._after(
            outcome,
            context,
            verdict="error",
            code=problem.code,
            reason=problem.detail,
            result=None if result is None else summary(result),
        )

    def _after(self, outcome: Outcome, context: Context, **fields: Any) -> Event:
        call: Call = outcome.call
        return Event(
            v=1,
            id=new_id(),
            time=self._time(),
            type=_RESULTS.get(call.action, EventType.RESULT),
            gateway=self._gateway,
            trace_id=context.trace_id,
            principal_kind=context.principal.kind,
            principal=context.principal.id,
            credential=context.principal.credential,
            session=context.session.id if context.session else "",
            route=call.route,
            action=call.action,
            server=call.server,
            name=_named(outcome),
            policy=outcome.verdict.policy or self._pdp.digest,
            decision=outcome.event,
            secrets=tuple(outcome.used),
            **fields,
        )

    def event(self, kind: EventType, problem: Problem, **fields: str) -> Event:
        """A refusal outside a call: malformed, unauthenticated, unroutable."""
        if not made_of_words(fields.get("method") or "none"):
            fields["method"] = HIDDEN
        return Event(
            v=1,
            id=new_id(),
            time=self._time(),
            type=kind,
            gateway=self._gateway,
            verdict="deny",
            code=problem.code,
            reason=problem.detail,
            policy=self._pdp.digest,
            **{name: value[:MAX_CLEAR] for name, value in fields.items()},  # type: ignore[arg-type]
        )

    async def remember(self, outcome: Outcome, context: Context, result: Result) -> None:
        """Keep what a model proposed, so that the call that runs can be linked to the turn.

        Raises Problem PC5003 when the proposed arguments are not strict JSON.
        """
        try:
            proposals = [
                Proposal(
                    name=proposal.name[:MAX_CLEAR],
                    digest=digest(decode(proposal.arguments.encode() or b"{}")),
                    event=outcome.event,
                )
                for proposal in result.proposals
            ]
        except Problem as problem:
            raise Problem("PC5003", f"proposed arguments: {problem.detail}") from None
        if proposals:
            await self._sessions.propose(memory_key(context.principal, context.session), proposals)


def _word_of(verdict: Allow | Deny) -> str:
    if isinstance(verdict, Allow):
        return "allow"
    return "hold" if verdict.code == PENDING else "deny"


def _places(outcome: Outcome) -> frozenset[str]:
    """Where in the request something was found."""
    if not outcome.findings:
        return _NOWHERE
    return frozenset(finding.where.partition(",")[0] for finding in outcome.findings)


def _named(outcome: Outcome) -> str:
    """What was asked for, unless that is what was found, or may be content and was refused."""
    name: str = outcome.call.name
    refused = isinstance(outcome.verdict, Deny) and not made_of_words(name)
    return HIDDEN if refused or _places(outcome) & _CALLED else name[:MAX_CLEAR]


def memory_key(principal: Principal, session: Session | None) -> str:
    """Where proposals are kept: the session, or the agent when it has none."""
    return session.id if session else f"{principal.kind}:{principal.id}"


def _model_names(server: str, tool: str) -> frozenset[str]:
    """The names under which agents offer a tool to models (which forbid dots)."""
    flat = tool.replace(".", "_")
    return frozenset(
        {tool, flat}
        | {f"{server}{joint}{name}" for joint in (".", "_", "__", "-") for name in (tool, flat)}
    )


def _let_through(finding: Finding) -> bool:
    """Whether it is personal data, by the name of its kind, that whoever approved was asked of."""
    return finding.treatment == Treatment.HOLD and finding.type.isupper()


def _keepable(call: Call, findings: Iterable[Finding]) -> bool:
    """Whether this is content, and nothing that was found stands in it as it was."""
    return call.action in _CONTENT and all(finding.treatment in _HARMLESS for finding in findings)


def _short(value: Any) -> bool:
    return isinstance(value, bool | int | float | None) or (
        isinstance(value, str) and len(value) <= MAX_CLEAR
    )


def _findings(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Each as ``TYPE:treatment@place``, the same ones once."""
    if not findings:
        return ()
    shown = (
        f"{finding.type}{':' if finding.treatment else ''}{finding.treatment}@{finding.where}"
        for finding in findings
    )
    return tuple(islice(dict.fromkeys(shown), MAX_NAMES))
