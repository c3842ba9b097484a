"""The line. Every call of every agent takes it, and a reader sees the whole of it here.

    decoded call -> checks, in order -> record -> (the caller forwards) -> checks on the
    result, in reverse -> record -> (the caller answers)

The decision's record is durable before anything but a read is forwarded. A check that raises
denies. Nothing here knows a protocol, a store or a check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

import msgspec
import structlog

from portcullis.core.call import Call, Context, Result, RiskClass
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.core.ports import Recorder
from portcullis.core.verdict import PASS, Allow, Deny, Finding, Transform, Verdict
from portcullis.gateway.live import ended
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.outcome import Outcome
from portcullis.gateway.records import Records
from portcullis.wire.json import encode

log = structlog.get_logger(__name__)


class Pipeline:
    """The ordered checks around one recorder."""

    def __init__(
        self, checks: Sequence[Check], recorder: Recorder, records: Records, metrics: Metrics
    ) -> None:
        self._request = tuple(c for c in checks if _overrides(c, "judge"))
        self._prepares = frozenset(c.name for c in checks if _overrides(c, "prepare"))
        self._result = tuple(c for c in reversed(checks) if _overrides(c, "judge_result"))
        self._chunk = tuple(c for c in checks if _overrides(c, "judge_chunk"))
        self._recorder = recorder
        self._metrics = metrics
        self.records = records

    async def request(self, call: Call, context: Context) -> Outcome:
        """Decide on a call and record the decision. Never raises but when cancelled.

        When it returns an Allow for anything but a read, the record would survive a power cut.
        """
        started = perf_counter()
        outcome = await self._decide(call, context)
        try:
            event = await self.records.decision(outcome, context)
            if isinstance(outcome.verdict, Deny) or outcome.risk is RiskClass.READ:
                self._recorder.enqueue(event)
            else:
                await self._durable(event, outcome, context)
                late = self.chunk(call, context)  # cut off while the record was being written
                if late is not None:
                    self.failed(outcome, context, Problem(late.code, late.reason))
                    outcome = msgspec.structs.replace(outcome, verdict=late)
        except Problem as problem:
            outcome = msgspec.structs.replace(
                outcome, verdict=Deny(code=problem.code, reason=problem.detail), check="record"
            )
        except Exception:
            log.exception("record_failed", event_id=call.id)
            fault = Deny(code="PC6001", reason="the decision could not be recorded")
            outcome = msgspec.structs.replace(outcome, verdict=fault, check="record")
        self._metrics.decided(outcome.call, outcome.verdict, perf_counter() - started)
        return outcome

    async def permits(self, call: Call, context: Context) -> bool:
        """Whether the line would allow a call of the gate's own, which leaves no record."""
        return not isinstance((await self._decide(call, context)).verdict, Deny)

    async def _durable(self, event: Event, outcome: Outcome, context: Context) -> None:
        try:
            await self._recorder.durable(event)
        except asyncio.CancelledError as error:  # it may be recorded, and then a result is owed
            gone = Problem("PC5008", "the call ended while its decision was being recorded")
            problem = ended(error)
            self.failed(outcome, context, problem or gone)
            if problem is None:
                raise
            raise problem from None

    async def _decide(self, call: Call, context: Context) -> Outcome:
        granted: Allow = PASS
        findings: tuple[Finding, ...] = ()
        name = ""
        try:
            for check in self._request:
                name = check.name
                facts = await check.prepare(call, context) if name in self._prepares else None
                verdict = check.judge(call, context, facts)
                if verdict is PASS:
                    continue
                if isinstance(verdict, Deny):
                    return _outcome(verdict, call, name, findings)
                if isinstance(verdict, Transform):
                    call = _transformed(call, verdict)
                    findings += verdict.findings
                else:
                    granted = verdict
        except Exception:
            log.exception("check_failed", check=name, event_id=call.id)
            fault = Deny(code="PC9001", reason=f"the check {name} failed")
            return _outcome(fault, call, name, findings)
        if not granted.rule:
            return _outcome(Deny(code="PC3001", reason="no rule allows it"), call, "", findings)
        return _outcome(granted, call, "", findings)

    def result(self, outcome: Outcome, context: Context, result: Result) -> Result | Deny:
        """Judge what came back, in reverse order, and record it. The last word is returned."""
        findings: tuple[Finding, ...] = ()
        name = ""
        verdict: Verdict = PASS
        try:
            for check in self._result:
                name = check.name
                verdict = check.judge_result(outcome.call, context, result)
                if isinstance(verdict, Deny):
                    break
                if isinstance(verdict, Transform):
                    result = msgspec.structs.replace(result, payload=verdict.payload)
                    findings += verdict.findings
            denied = verdict if isinstance(verdict, Deny) else None
        except Exception:
            log.exception("check_failed", check=name, event_id=outcome.event)
            denied = Deny(code="PC9001", reason=f"the check {name} failed")
        try:
            self._recorder.enqueue(
                self.records.result(outcome, context, result, denied, check=name, findings=findings)
            )
        except Problem as problem:
            denied = Deny(code=problem.code, reason=problem.detail)
        if denied is not None:
            self._metrics.withheld(outcome.call, denied)
        return denied or result

    def chunk(self, call: Call, context: Context) -> Deny | None:
        """Whether a piece of a stream may go on: asked for each piece."""
        try:
            for check in self._chunk:
                verdict = check.judge_chunk(call, context)
                if isinstance(verdict, Deny):
                    return verdict
        except Exception:
            log.exception("check_failed", event_id=call.id)
            return Deny(code="PC9001", reason="a check on the stream failed")
        return None

    def failed(self, outcome: Outcome, context: Context, problem: Problem) -> None:
        """Record that an allowed call has no good result: the event that is owed for it."""
        self._metrics.failed(outcome.call, problem)
        self._enqueue_or_log(self.records.failure(outcome, context, problem))

    def refused(self, problem: Problem, kind: EventType = EventType.ERROR, **where: str) -> Problem:
        """Record a request that never became a call; returns the problem to answer with.

        That is PC6001 when it cannot be recorded. ``where`` are fields of the event (principal,
        source, route, method, server, ...).
        """
        self._metrics.refused(where.get("route", ""), problem)
        try:
            self._recorder.enqueue(self.records.event(kind, problem, **where))
        except Problem as unrecorded:
            return unrecorded
        return problem

    def _enqueue_or_log(self, event: Event) -> None:
        try:
            self._recorder.enqueue(event)
        except Problem as problem:
            log.critical("event_lost", code=problem.code)


def _overrides(check: Check, method: str) -> bool:
    return getattr(type(check), method) is not getattr(Check, method)


def _outcome(
    verdict: Allow | Deny, call: Call, check: str, findings: tuple[Finding, ...]
) -> Outcome:
    return Outcome(verdict=verdict, call=call, event=call.id, check=check, findings=findings)


def _transformed(call: Call, verdict: Transform) -> Call:
    """The call in its new form: the digest in the record covers these bytes."""
    return msgspec.structs.replace(
        call,
        payload=verdict.payload,
        arguments=call.arguments if verdict.arguments is None else verdict.arguments,
        body=encode(verdict.payload),
    )
