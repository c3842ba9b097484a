"""The checks around a call, in order on its request and in reverse on what comes back.

A check that raises denies. Nothing here records, counts or knows a protocol.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec
import structlog

from portcullis.core.call import Call, Context, Result, RiskClass
from portcullis.core.check import Check, Progress, StreamJudge
from portcullis.core.containment import Look
from portcullis.core.errors import Problem
from portcullis.core.obligation import joined
from portcullis.core.trace import Trace
from portcullis.core.verdict import PASS, Allow, Deny, Finding, Hold, Transform, Verdict
from portcullis.gateway.outcome import PENDING, Held, Outcome
from portcullis.gateway.tracing import checking, judged
from portcullis.wire.json import encode

log = structlog.get_logger(__name__)
_T = TypeVar("_T")
_Tell: TypeAlias = Callable[[Call, Context, RiskClass], Awaitable[None]]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the line made of a result; when ``denied`` is set, ``check`` says by whom."""

    result: Result
    findings: tuple[Finding, ...] = ()
    denied: Deny | None = None
    check: str = ""


class Line:
    """The ordered checks."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._request = tuple(c for c in checks if _overrides(c, "judge"))
        self._prepares = frozenset(c.name for c in checks if _overrides(c, "prepare"))
        self._result = tuple(c for c in reversed(checks) if _overrides(c, "judge_result"))
        self._looks_back = frozenset(c.name for c in checks if _overrides(c, "prepare_result"))
        self._looks = tuple(c for c in checks if _overrides(c, "lookups"))
        self._holds = tuple(c for c in checks if _overrides(c, "holding"))
        self._notes = tuple(c for c in checks if _overrides(c, "approved"))
        self._sees_off = tuple(c for c in checks if _overrides(c, "going"))
        self._stream = tuple(c for c in checks if _overrides(c, "judge_stream"))
        self._chunk = tuple(c for c in checks if _overrides(c, "judge_chunk"))
        self._passing = tuple(c for c in checks if _overrides(c, "judge_passing"))

    async def request(  # noqa: C901 - it is read as a whole, and runs for every call
        self, call: Call, context: Context
    ) -> Outcome:
        """Decide on a call; what no check grants is denied.

        What a check holds is judged by the others too: any of them may deny it, all may hold it.
        """
        granted: Allow = PASS
        holds: list[tuple[str, Hold]] = []
        findings: tuple[Finding, ...] = ()
        name = ""
        try:
            for check in self._request:
                name = check.name
                if context.trace is not None:
                    verdict = await self._traced(context.trace, check, call, context)
                else:
                    facts = await check.prepare(call, context) if name in self._prepares else None
                    verdict = check.judge(call, context, facts)
                if verdict is PASS:
                    continue
                if isinstance(verdict, Deny):
                    return _outcome(verdict, call, name, findings + verdict.findings)
                if isinstance(verdict, Hold):
                    holds.append((name, verdict))
                    findings += verdict.findings
                    verdict = verdict.then or PASS
                if isinstance(verdict, Transform):
                    call = _transformed(call, verdict)
                    findings += verdict.findings
                elif verdict is not PASS:
                    granted, call = _joined(granted, verdict), _obliged(call, verdict)
        except Exception as error:  # noqa: BLE001 - whatever it is, it denies
            return _outcome(_refusal(error, name, call), call, name, findings)
        if not granted.rule:
            return _outcome(Deny(code="PC3001", reason="no rule allows it"), call, "", findings)
        if holds:
            return _held(holds, granted, call, findings)
        return _outcome(granted, call, "", findings)

    async def _traced(self, trace: Trace, check: Check, call: Call, context: Context) -> Verdict:
        with checking(trace, "request", check.name) as span:
            prepares = check.name in self._prepares
            facts = await check.prepare(call, context) if prepares else None
            verdict = check.judge(call, context, facts)
            judged(span, verdict)
        return verdict

    async def lookups(self, call: Call, context: Context) -> list[Look]:
        """What the checks would look up before they ask about a call. Raises what they raise."""
        return [look for check in self._looks for look in await check.lookups(call, context)]

    async def approved(self, call: Call, context: Context, approval: str) -> None:
        """Tell the checks that a human let a held call through. Raises what they raise."""
        for check in self._notes:
            await check.approved(call, context, approval)

    async def holding(self, outcome: Outcome, context: Context) -> Outcome:
        """Tell the checks what a human is to be asked about; a denial when one knows better."""
        return await self._told(outcome, ((c, c.holding) for c in self._holds), context)

    async def going(self, outcome: Outcome, context: Context) -> Outcome:
        """Tell the checks what is about to be forwarded; a denial when one cannot have that."""
        return await self._told(outcome, ((c, c.going) for c in self._sees_off), context)

    async def _told(
        self, outcome: Outcome, checks: Iterable[tuple[Check, _Tell]], context: Context
    ) -> Outcome:
        for check, tell in checks:
            try:
                await tell(outcome.call, context, outcome.risk)
            except Exception as error:  # noqa: BLE001 - whatever it is, it denies
                denied = _refusal(error, check.name, outcome.call)
                verdict = msgspec.structs.replace(denied, risk=outcome.risk)
                return msgspec.structs.replace(
                    outcome, verdict=verdict, check=check.name, held=None
                )
        return outcome

    async def result(self, call: Call, context: Context, result: Result) -> Judged:
        """Judge what came back."""
        findings: tuple[Finding, ...] = ()
        name = ""
        try:
            for check in self._result:
                name = check.name
                if context.trace is not None:
                    verdict = await self._traced_back(context.trace, check, call, context, result)
                elif name in self._looks_back:
                    facts = await check.prepare_result(call, context, result)
                    verdict = check.judge_result(call, context, result, facts)
                else:
                    verdict = check.judge_result(call, context, result, None)
                if verdict is PASS:
                    continue
                if isinstance(verdict, Hold):  # it has been done: nobody can still decide on it
                    verdict = Deny(code="PC3023", reason=verdict.reason)
                if isinstance(verdict, Deny):
                    found = findings + verdict.findings
                    return Judged(result=result, findings=found, denied=verdict, check=name)
                if isinstance(verdict, Transform):
                    result = msgspec.structs.replace(result, payload=verdict.payload)
                    findings += verdict.findings
        except Exception as error:  # noqa: BLE001 - whatever it is, it denies
            denied = _refusal(error, name, call)
            return Judged(result=result, findings=findings, denied=denied, check=name)
        return Judged(result=result, findings=findings)

    async def _traced_back(
        self, trace: Trace, check: Check, call: Call, context: Context, result: Result
    ) -> Verdict:
        with checking(trace, "result", check.name) as span:
            facts = None
            if check.name in self._looks_back:
                facts = await check.prepare_result(call, context, result)
            verdict = check.judge_result(call, context, result, facts)
            judged(span, verdict)
        return verdict

    def stream(self, call: Call, context: Context) -> StreamJudge | Deny | None:
        """Who judges the streamed answer's texts: the first check that wants to."""
        try:
            for check in self._stream:
                judge = check.judge_stream(call, context)
                if judge is not None:
                    return Guarded(judge, check.name, call)
        except Exception:
            log.exception("check_failed", event_id=call.id)
            return _fault("of streams")
        return None

    @property
    def measures(self) -> bool:
        """Whether any check asks how long a model's stream becomes."""
        return bool(self._passing)

    def chunk(
        self, call: Call, context: Context, characters: Callable[[], int] | None = None
    ) -> Deny | None:
        """Whether a piece of a stream may go on; or so many ``characters`` of a model's."""
        try:
            for check in self._chunk if characters is None else self._passing:
                if characters is None:
                    verdict = check.judge_chunk(call, context)
                else:
                    verdict = check.judge_passing(call, context, characters)
                if isinstance(verdict, Deny):
                    return verdict
        except Exception:
            log.exception("check_failed", event_id=call.id)
            return _fault("of chunks")
        return None


@dataclass(frozen=True, slots=True)
class Guarded:
    """A stream's judge, of which a fault is a deny."""

    judge: StreamJudge
    check: str
    call: Call

    @property
    def findings(self) -> tuple[Finding, ...]:
        """See StreamJudge."""
        return self.judge.findings

    def text(self, key: str, piece: str, *, last: bool) -> Progress | Deny:
        """See StreamJudge."""
        return self._asked(lambda: self.judge.text(key, piece, last=last))

    def whole(
        self, key: str, text: str, *, json: bool, sealed: bool = False, error: bool = False
    ) -> str | Deny:
        """See StreamJudge."""
        return self._asked(
            lambda: self.judge.whole(key, text, json=json, sealed=sealed, error=error)
        )

    def clear(self, texts: Sequence[tuple[str, str, bool]]) -> bool | Deny:
        """See StreamJudge."""
        return self._asked(lambda: self.judge.clear(texts))

    def opaque(self, key: str) -> Deny | None:
        """See StreamJudge."""
        return self._asked(lambda: self.judge.opaque(key))

    def end(self, result: Result) -> Deny | None:
        """See StreamJudge."""
        return self._asked(lambda: self.judge.end(result))

    def _asked(self, ask: Callable[[], _T]) -> _T | Deny:
        try:
            return ask()
        except Exception:
            log.exception("check_failed", check=self.check, event_id=self.call.id)
            return _fault(self.check)


def _refusal(error: Exception, check: str, call: Call) -> Deny:
    """A check could not do its part; a Problem says why, anything else is a fault."""
    if isinstance(error, Problem):
        return Deny(
            code=error.code,
            reason=error.detail,
            retry_after=error.retry_after,
            over=error.over,
        )
    log.error("check_failed", check=check, event_id=call.id, exc_info=error)
    return _fault(check)


def _fault(check: str) -> Deny:
    return Deny(code="PC9001", reason=f"the check {check} failed")


def _overrides(check: Check, method: str) -> bool:
    return getattr(type(check), method) is not getattr(Check, method)


def _outcome(
    verdict: Allow | Deny, call: Call, check: str, findings: tuple[Finding, ...]
) -> Outcome:
    return Outcome(verdict=verdict, call=call, event=call.id, check=check, findings=findings)


def _held(
    holds: Sequence[tuple[str, Hold]], granted: Allow, call: Call, findings: tuple[Finding, ...]
) -> Outcome:
    """All holds as one, at the highest risk that anybody saw; granted is what waits.

    Nobody is asked about a call of the gate's own: it is denied.
    """
    risks = (granted.risk or RiskClass.DELETE, *(hold.risk for _, hold in holds))
    together = Hold(
        reason="; ".join(dict.fromkeys(hold.reason for _, hold in holds)),
        questions=tuple(dict.fromkeys(one for _, hold in holds for one in hold.questions)),
        labels={name: label for _, hold in holds for name, label in hold.labels.items()},
        rule=next((hold.rule for _, hold in holds if hold.rule), granted.rule),
        risk=_highest(*risks),
        approvers=max(hold.approvers for _, hold in holds),
    )
    if call.looked_up_for:
        reason, rule, risk = together.reason, together.rule, together.risk
        denied = Deny(code="PC3060", reason=reason, rule=rule, risk=risk)
        return _outcome(denied, call, holds[0][0], findings)
    return Outcome(
        verdict=Deny(code=PENDING, reason=together.reason, risk=together.risk),
        call=call,
        event=call.id,
        check=holds[0][0],
        findings=findings,
        held=Held(hold=together, granted=granted),
    )


def _obliged(call: Call, verdict: Allow) -> Call:
    """The call with what the grant asks of those who judge it from here on."""
    if verdict.obligations is None:
        return call
    obliged = joined((call.obligations, verdict.obligations))
    return msgspec.structs.replace(call, obligations=obliged)


def _joined(granted: Allow, more: Allow) -> Allow:
    """The last grant of a rule, at the highest risk that anybody saw."""
    grant = more if more.rule else granted
    risk, egress = _highest(granted.risk, more.risk), more.egress or granted.egress
    observed = granted.observed or more.observed
    obliged = joined((granted.obligations, more.obligations))
    return msgspec.structs.replace(
        grant, risk=risk, egress=egress, observed=observed, obligations=obliged
    )


def _highest(*risks: RiskClass | None) -> RiskClass | None:
    return max(filter(None, risks), key=list(RiskClass).index, default=None)


def _transformed(call: Call, verdict: Transform) -> Call:
    """The call in its new form: the digest in the record covers these bytes."""
    return msgspec.structs.replace(
        call,
        payload=verdict.payload,
        arguments=call.arguments if verdict.arguments is None else verdict.arguments,
        body=encode(verdict.payload),
    )
