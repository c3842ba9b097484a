"""The line. Every call of every agent takes it, and a reader sees the whole of it here.

    decoded call -> checks, in order -> approval, where one is needed -> record
    -> (the caller forwards) -> checks on the result, in reverse -> record -> (the caller answers)

The decision's record is durable before anything but a read is forwarded. Nothing here knows a
protocol, a store or a check; ``gateway.line`` asks the checks, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from time import perf_counter
from typing import Final, TypeAlias

import msgspec
import structlog

from portcullis.core.approval_ports import Approvals
from portcullis.core.call import Call, Context, Result, RiskClass
from portcullis.core.check import Check, Observer, StreamJudge
from portcullis.core.containment import Look
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.core.inspection import request_channel, result_channel
from portcullis.core.ports import Recorder
from portcullis.core.secret_use import holding
from portcullis.core.trace import part
from portcullis.core.verdict import Allow, Deny, Finding, Transform
from portcullis.gateway import tracing
from portcullis.gateway.line import Judged, Line
from portcullis.gateway.live import ended
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.outcome import PENDING, Outcome
from portcullis.gateway.records import Records

log = structlog.get_logger(__name__)


_LOOK_SECONDS: Final = 10.0
"""How long a call waits for what is looked up before somebody is asked."""

ELSEWHERE: Final = Result(payload=None, size=0, finish="elsewhere")
"""In place of the result of a call that was allowed to happen elsewhere."""

LookUp: TypeAlias = Callable[[Look], Awaitable[None]]
"""Makes a call of the gate's own; what came of it, the checks have learned by themselves."""

Meanwhile: TypeAlias = Callable[[Outcome], None]
"""Returns at once, and never raises."""


class Pipeline:
    """The ordered checks around one recorder.

    Before a call of a risk in ``awaited`` is forwarded, witnesses have vouched for its record.
    Without ``approvals``, what is held is denied. ``observers`` are told what becomes of calls.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        recorder: Recorder,
        records: Records,
        metrics: Metrics,
        awaited: Collection[RiskClass] = (),
        approvals: Approvals | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._line = Line(checks)
        self._recorder = recorder
        self._metrics = metrics
        self._awaited = frozenset(awaited)
        self._approvals = approvals
        self._observers = tuple(observers)
        self._going: set[str] = set()  # allowed, and not finished yet
        self.records = records

    async def request(
        self,
        call: Call,
        context: Context,
        look: LookUp | None = None,
        meanwhile: Meanwhile | None = None,
    ) -> Outcome:
        """Decide on a call and record the decision. Never raises but when cancelled.

        When it returns an Allow for anything but a read, the record would survive a power cut.
        ``look`` makes calls of the gate's own: before anybody is asked, checks may learn by them.
        ``meanwhile`` is called before the record of an Allow is written: it may tell the caller,
        and nobody else, that its call is going.
        """
        started = perf_counter()
        outcome = decided = await self._line.request(call, context)
        try:
            outcome = decided = await self._settled(outcome, call, context, look)
            if isinstance(outcome.verdict, Allow):
                self._goes(outcome, meanwhile)
            event = await self.records.decision(outcome, context)
            if isinstance(outcome.verdict, Deny) or outcome.risk is RiskClass.READ:
                self._recorder.enqueue(event)
            else:
                with part(context.trace, "record"):
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
        except BaseException:  # cancelled: what was reserved for it is given back
            self._going.discard(call.id)
            gone = Deny(code="PC5014", reason="the call ended before it was decided on")
            self._tell(lambda one: one.decided(decided.call, context, gone))
            raise
        if isinstance(outcome.verdict, Deny):
            self._going.discard(outcome.event)
        if outcome is not decided:
            self.records.unrecorded(outcome.event)
        self._counted(outcome, context, perf_counter() - started)
        if self._approvals is not None and not call.looked_up_for:
            self._approvals.noted(outcome.call, context, outcome.verdict)
        self._tell(lambda one: one.decided(outcome.call, context, outcome.verdict))
        holding(context, outcome.used)
        return outcome

    def _counted(self, outcome: Outcome, context: Context, seconds: float) -> None:
        if context.trace is not None:
            tracing.decided(context.trace, outcome, context)
        self._metrics.found(request_channel(outcome.call.action), outcome.findings)
        self._metrics.decided(outcome.call, outcome.verdict, seconds)

    def _goes(self, outcome: Outcome, meanwhile: Meanwhile | None) -> None:
        self._going.add(outcome.event)
        if meanwhile is not None:
            meanwhile(outcome)

    async def _settled(
        self, outcome: Outcome, call: Call, context: Context, look: LookUp | None
    ) -> Outcome:
        """What becomes of a call once sources were looked up and humans asked."""
        if look is not None and _in_question(outcome):
            told = await self._line.holding(outcome, context)
            if told is not outcome:  # nothing is looked up for what cannot be
                return told
            if await self._looked(outcome, context, look):
                outcome = await self._line.request(call, context)
        if outcome.held is not None:
            with part(context.trace, "approval"):
                outcome = await self._held(outcome, call, context)
        if isinstance(outcome.verdict, Allow):
            outcome = await self._line.going(outcome, context)
        return outcome

    async def _looked(self, outcome: Outcome, context: Context, look: LookUp) -> bool:
        """Make the calls by which the checks may learn, as time allows; whether any was made."""
        made = False
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                for one in await self._line.lookups(outcome.call, context):
                    await look(one)
                    made = True
        except TimeoutError:
            log.warning("lookups_late", event_id=outcome.event)
        except Exception:
            log.exception("lookups_failed", event_id=outcome.event)
        return made

    async def _held(self, outcome: Outcome, call: Call, context: Context) -> Outcome:
        """What becomes of a held call: it consumes its approval, waits for it, or is refused.

        After waiting, ``call`` takes the whole line again, as it came, under the policy in force.
        """
        approvals = self._approvals
        try:
            while outcome.held is not None and approvals is not None:
                hold, granted = outcome.held.hold, outcome.held.granted
                told = await self._line.holding(outcome, context)
                if told is not outcome:
                    return told
                verdict = await approvals.ask(outcome.call, context, hold, granted)
                held = msgspec.structs.replace(outcome, verdict=verdict, held=None)
                if isinstance(verdict, Allow):
                    await self._line.approved(outcome.call, context, verdict.approval)
                    late = self.chunk(call, context)  # cut off while it was being consumed
                    return msgspec.structs.replace(held, verdict=late or verdict, check="")
                waited = verdict.code == PENDING and await approvals.settled(
                    verdict.approval, context
                )
                if not waited:
                    return held
                outcome = await self._line.request(call, context)
        except Problem as problem:
            verdict = Deny(code=problem.code, reason=problem.detail)
            return msgspec.structs.replace(outcome, verdict=verdict)
        except Exception:
            log.exception("approval_failed", event_id=call.id)
            verdict = Deny(code="PC9001", reason="it could not be asked who approves it")
            return msgspec.structs.replace(outcome, verdict=verdict)
        return outcome

    async def permits(self, call: Call, context: Context) -> bool:
        """Whether the line would allow a call of the gate's own, which leaves no record."""
        if context.trace is not None:  # nor spans: there may be one for each tool of a list
            context = msgspec.structs.replace(context, trace=None)
        return isinstance((await self._line.request(call, context)).verdict, Allow)

    async def _durable(self, event: Event, outcome: Outcome, context: Context) -> None:
        try:
            await self._recorder.durable(event)
            if outcome.risk in self._awaited:
                await self._witnessed(outcome, context)
        except asyncio.CancelledError as error:  # it may be recorded, and then a result is owed
            gone = Problem("PC5008", "the call ended while its decision was being recorded")
            problem = ended(error)
            self.failed(outcome, context, problem or gone)
            if problem is None:
                raise
            raise problem from None

    async def _witnessed(self, outcome: Outcome, context: Context) -> None:
        try:
            await self._recorder.witnessed()
        except Problem as problem:  # the record says allow, and it does not happen
            self.failed(outcome, context, problem)
            raise

    async def result(
        self,
        outcome: Outcome,
        context: Context,
        result: Result,
        *,
        judge: StreamJudge | None = None,
        findings: Sequence[Finding] = (),
    ) -> Result | Deny:
        """Judge what came back, in reverse order, and record it. The last word is returned.

        ``judge`` is who judged the texts of a streamed answer (its findings are recorded, and
        its ``end`` is asked first); ``findings`` is what ``notice`` saw on the way.
        """
        denied = None if judge is None else judge.end(result)
        if denied is not None:
            judged = Judged(result=result, denied=denied, check="inspect")
        else:
            judged = await self._line.result(outcome.call, context, result)
        seen = (*findings, *(judge.findings if judge else ()), *judged.findings)
        return self._concluded(outcome, context, msgspec.structs.replace(judged, findings=seen))

    async def elsewhere(self, outcome: Outcome, context: Context) -> Deny | None:
        """Record that somebody else acts on an Allow: nothing of it comes back through here.

        The checks learn from it what they learn from a result that says nothing: the worst.
        """
        unseen = msgspec.structs.replace(ELSEWHERE, is_error=True)  # it may say anything
        try:
            judged = await self._line.result(outcome.call, context, unseen)
        except BaseException:
            self.failed(outcome, context, Problem("PC5008", "the question was ended"))
            raise
        judged = msgspec.structs.replace(judged, result=ELSEWHERE)
        said = self._concluded(outcome, context, judged)
        return said if isinstance(said, Deny) else None

    def stopped(
        self, outcome: Outcome, context: Context, result: Result, judge: StreamJudge, denied: Deny
    ) -> None:
        """Record that ``judge`` ended a stream; ``result`` is what of it had gone on."""
        self._concluded(
            outcome,
            context,
            Judged(result=result, findings=judge.findings, denied=denied, check="inspect"),
        )

    def _concluded(self, outcome: Outcome, context: Context, judged: Judged) -> Result | Deny:
        denied = judged.denied
        self._metrics.found(result_channel(outcome.call.action), judged.findings)
        try:
            event = self.records.result(
                outcome,
                context,
                judged.result,
                denied,
                check=judged.check,
                findings=judged.findings,
            )
            self._record(event)
        except Problem as problem:
            denied = Deny(code=problem.code, reason=problem.detail)
        if denied is not None:
            self._metrics.withheld(outcome.call, denied)
        if context.trace is not None:
            tracing.concluded(context.trace, outcome, judged.result, denied)
        self._finished(outcome, context, judged.result, denied)
        return denied or judged.result

    async def notice(self, call: Call, context: Context, result: Result) -> Transform | Deny:
        """Judge what a server says before its answer: ``call`` stands for the notification.

        It leaves no record of its own: hand the findings to the ``result`` that follows.
        """
        judged = await self._line.result(call, context, result)
        if judged.denied is not None:
            return judged.denied
        return Transform(payload=judged.result.payload, findings=judged.findings)

    def stream(self, call: Call, context: Context) -> StreamJudge | None:
        """Who judges the texts of the streamed answer to a call, or None when nobody wants to.

        Raises Problem PC9001 when that cannot be said. Its methods never raise.
        """
        judge = self._line.stream(call, context)
        if isinstance(judge, Deny):
            raise Problem(judge.code, judge.reason)
        return judge

    def chunk(self, call: Call, context: Context) -> Deny | None:
        """Whether a piece of a stream may go on: asked for each piece."""
        return self._line.chunk(call, context)

    @property
    def measures(self) -> bool:
        """Whether it has to be said how long model's streams become (``passing``)."""
        return self._line.measures

    def passing(self, call: Call, context: Context, characters: Callable[[], int]) -> Deny | None:
        """Whether so many more characters of a model's streamed answer may go on."""
        return self._line.chunk(call, context, characters)

    def failed(
        self, outcome: Outcome, context: Context, problem: Problem, result: Result | None = None
    ) -> None:
        """Record that an allowed call has no good result: the event that is owed for it.

        ``result`` says how many bytes had gone on until then, where that is known.
        """
        self._metrics.failed(outcome.call, problem)
        if context.trace is not None:
            tracing.failed(context.trace, outcome, problem.code)
        self._enqueue_or_log(self.records.failure(outcome, context, problem, result))
        denied = Deny(code=problem.code, reason=problem.detail)
        self._finished(outcome, context, None, denied)

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

    def _finished(
        self, outcome: Outcome, context: Context, result: Result | None, denied: Deny | None
    ) -> None:
        """Tell it once: what goes wrong with an answer that was judged is recorded, too."""
        if outcome.event in self._going:
            self._going.discard(outcome.event)
            self._tell(lambda one: one.finished(outcome.call, context, result, denied))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except Exception:
                log.exception("observer_failed")

    def _record(self, event: Event) -> None:
        try:
            self._recorder.enqueue(event)
        except Problem:
            self.records.unrecorded(event.id)
            raise

    def _enqueue_or_log(self, event: Event) -> None:
        try:
            self._recorder.enqueue(event)
        except Problem as problem:
            log.critical("event_lost", code=problem.code)


def _in_question(outcome: Outcome) -> bool:
    """Whether a value has no source, be it that somebody is asked or that it is denied."""
    denied = isinstance(outcome.verdict, Deny) and outcome.verdict.code == "PC3060"
    return denied or outcome.held is not None
