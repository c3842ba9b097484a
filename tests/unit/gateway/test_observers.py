"""If these fail, who counts calls counts one twice, or never hears of its end."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from portcullis.config import Limits, Toolset
from portcullis.core.call import Result, RiskClass
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny, Hold
from portcullis.gateway.guard import Guard
from portcullis.gateway.live import left
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.outcome import PENDING
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records
from unit.gateway.test_going import Going
from unit.gateway.test_pipeline import (
    Broken,
    Clock,
    Cut,
    Grant,
    Journal,
    Memory,
    Policy,
    Refuse,
    Withhold,
    call,
    context,
)

pytestmark = pytest.mark.anyio
RESULT = Result(payload={"x": 1}, size=7)


class Told:
    """What it was told: the verdicts, and the ends."""

    def __init__(self):
        self.decisions = []
        self.ends = []

    def decided(self, call, context, verdict):
        self.decisions.append("" if isinstance(verdict, Allow) else verdict.code)

    def finished(self, call, context, result, problem):
        assert result is None or result.payload == RESULT.payload
        self.ends.append((result is not None, problem.code if problem else ""))


class Raises(Told):
    def decided(self, call, context, verdict):
        super().decided(call, context, verdict)
        raise RuntimeError("boom")

    def finished(self, call, context, result, problem):
        super().finished(call, context, result, problem)
        raise RuntimeError("boom")


class Asks(Check):
    name = "asks"

    def judge(self, call, context, facts):
        return Hold(reason="a human decides")


class Answers:
    """Approvals of which the answer is ``verdict``."""

    def __init__(self, verdict):
        self.verdict = verdict

    async def ask(self, call, context, hold, granted):
        return self.verdict

    async def settled(self, approval, context):
        return False

    def noted(self, call, context, verdict):
        pass


class Ends:
    """A stream's judge that ends it."""

    findings = ()

    def end(self, result):
        return Deny(code="PC3021", reason="found")


def line(*checks, journal=None, approvals=None):
    told, raises = Told(), Raises()
    journal = journal or Journal()
    records = Records("test", journal, Memory(), Policy(), Clock())
    pipeline = Pipeline(
        *(checks, journal, records, Metrics(CollectorRegistry())),
        approvals=approvals,
        observers=(raises, told),
    )
    return pipeline, told, raises


async def test_a_call_that_is_allowed_and_answered_is_told_once_of_each():
    pipeline, told, raises = line(Grant())
    outcome = await pipeline.request(call(), context())
    assert (told.decisions, told.ends) == ([""], [])
    assert await pipeline.result(outcome, context(), RESULT) is RESULT, "whoever raises"
    assert (told.decisions, told.ends) == ([""], [(True, "")])
    assert (raises.decisions, raises.ends) == (told.decisions, told.ends)


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ((Grant(), Refuse()), "PC3001"),
        ((), "PC3001"),
        ((Grant(), Broken()), "PC9001"),
        ((Grant(), Going(Problem("PC3061", "used up"))), "PC3061"),
        ((Grant(), Asks()), PENDING),
    ],
    ids=["refused", "not granted", "fault", "not ready", "held, and nobody to ask"],
)
async def test_what_is_denied_has_no_end(checks, code):
    pipeline, told, _ = line(*checks)
    await pipeline.request(call(), context())
    assert (told.decisions, told.ends) == ([code], [])


@pytest.mark.parametrize(
    ("verdict", "decided"),
    [
        (Deny(code=PENDING, reason="it waits", approval="a"), PENDING),
        (Deny(code="PC3041", reason="no", approval="a"), "PC3041"),
        (Allow(rule="rule", risk=RiskClass.MODIFY, approval="a"), ""),
    ],
    ids=["waits", "denied", "approved"],
)
async def test_a_held_call_is_told_of_once_it_is_decided(verdict, decided):
    pipeline, told, _ = line(Grant(), Asks(), approvals=Answers(verdict))
    outcome = await pipeline.request(call(), context())
    assert (told.decisions, told.ends) == ([decided], [])
    if not decided:
        await pipeline.result(outcome, context(), RESULT)
        assert told.ends == [(True, "")]


async def test_a_result_that_is_withheld_ends_with_its_result_and_why():
    pipeline, told, _ = line(Grant(), Withhold())
    outcome = await pipeline.request(call(), context())
    await pipeline.result(outcome, context(), RESULT)
    assert told.ends == [(True, "PC5009")]


async def test_a_result_that_has_no_record_ends_so():
    journal = Journal()
    pipeline, told, _ = line(Grant(), journal=journal)
    outcome = await pipeline.request(call(), context())
    journal.full = True
    await pipeline.result(outcome, context(), RESULT)
    assert told.ends == [(True, "PC6001")]


async def test_a_stream_that_is_stopped_ends_with_as_much_as_went_on():
    pipeline, told, _ = line(Grant())
    outcome = await pipeline.request(call(), context())
    pipeline.stopped(outcome, context(), RESULT, Ends(), Deny(code="PC3021", reason="found"))
    assert told.ends == [(True, "PC3021")]
    pipeline, told, _ = line(Grant())
    outcome = await pipeline.request(call(), context())
    await pipeline.result(outcome, context(), RESULT, judge=Ends())
    assert told.ends == [(True, "PC3021")]


@pytest.mark.parametrize(
    "problem",
    [Problem("PC5001", "unreachable"), Problem("PC4001", "cut off"), left()],
    ids=["upstream", "cut", "caller gone"],
)
async def test_a_call_without_a_result_ends_with_why(problem):
    pipeline, told, _ = line(Grant())
    outcome = await pipeline.request(call(), context())
    pipeline.failed(outcome, context(), problem)
    assert told.ends == [(False, problem.code)]


async def test_what_goes_wrong_after_the_end_is_no_second_one():
    pipeline, told, _ = line(Grant())
    outcome = await pipeline.request(call(), context())
    await pipeline.result(outcome, context(), RESULT)
    pipeline.failed(outcome, context(), Problem("PC5014", "gone"))
    assert told.ends == [(True, "")]


async def test_a_call_that_is_cut_off_while_it_is_recorded_ends_first_and_is_denied_then():
    pipeline, told, _ = line(Grant(RiskClass.MODIFY), Cut())
    outcome = await pipeline.request(call(), context())
    assert outcome.verdict.code == "PC4001"
    assert (told.ends, told.decisions) == ([(False, "PC4001")], ["PC4001"])
    pipeline.failed(outcome, context(), Problem("PC5014", "gone"))
    assert len(told.ends) == 1


@pytest.mark.parametrize(
    ("risk", "journal"),
    [(RiskClass.READ, Journal(full=True)), (RiskClass.MODIFY, Journal(fail_durable=True))],
    ids=["queue full", "disk full"],
)
async def test_a_call_that_has_no_record_is_denied_and_has_no_end(risk, journal):
    pipeline, told, _ = line(Grant(risk), journal=journal)
    await pipeline.request(call(), context())
    assert (told.decisions, told.ends) == (["PC6001"], [])


class Slow(Journal):
    async def durable(self, event):
        await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("message", "ended"), [(left(), "PC5014"), (None, "PC5008")], ids=["leaves", "cancelled"]
)
async def test_a_caller_that_leaves_while_its_call_is_recorded_leaves_an_end(message, ended):
    pipeline, told, _ = line(Grant(RiskClass.MODIFY), journal=Slow())
    asking = asyncio.ensure_future(pipeline.request(call(), context()))
    await asyncio.sleep(0.01)
    asking.cancel(message)
    await asyncio.wait([asking])
    assert (told.decisions, told.ends) == (["PC5014"], [(False, ended)])


class Pondering(Memory):
    """Where it is looked up who proposed a call, before its record can be written."""

    async def proposed(self, key, names, wanted):
        await asyncio.sleep(30)


async def test_what_was_reserved_for_a_caller_that_leaves_before_its_record_is_given_back():
    going, told = Going(), Told()
    records = Records("test", Journal(), Pondering(), Policy(), Clock())
    pipeline = Pipeline(
        *((Grant(), going), Journal(), records, Metrics(CollectorRegistry())), observers=(told,)
    )
    asking = asyncio.ensure_future(pipeline.request(call(), context()))
    await asyncio.sleep(0.01)
    assert going.seen, "it was about to go"
    asking.cancel(left())
    await asyncio.wait([asking])
    assert asking.cancelled()
    assert (told.decisions, told.ends) == (["PC5014"], [])


async def test_what_a_server_says_beside_its_answer_and_a_look_at_policy_are_told_to_nobody():
    pipeline, told, _ = line(Grant())
    await pipeline.permits(call(), context())
    await pipeline.notice(call(), context(), RESULT)
    assert (told.decisions, told.ends) == ([], [])


class Slipping(Clock):
    """Time as a test sets it."""

    at = 0.0

    def monotonic(self):
        return self.at


async def test_a_guard_call_of_which_nobody_reports_ends_when_its_time_is_over():
    pipeline, told, _ = line(Grant())
    clock = Slipping()
    guard = Guard(
        *(pipeline, None, lambda *_: True, {"shop": Toolset()}),
        limits=Limits(request_seconds=5),
        clock=clock,
        metrics=Metrics(CollectorRegistry()),
    )
    outcome = await pipeline.request(call(), context())
    guard._running.begin(outcome, context(), 5.0)
    guard.sweep()
    assert told.ends == []
    clock.at = 6.0
    guard.sweep()
    guard.sweep()
    guard.drain()
    assert told.ends == [(False, "PC5021")]
