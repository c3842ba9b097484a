"""If these fail, what the gate looks up by itself asks a human, waits, or leaves no record."""

import asyncio
import secrets

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from portcullis.core.call import RiskClass
from portcullis.core.check import Check
from portcullis.core.containment import Look
from portcullis.core.errors import Problem
from portcullis.core.verdict import PASS, Deny, Hold
from portcullis.gateway import pipeline
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records
from unit.gateway.test_pipeline import Clock, Grant, Journal, Memory, Policy, call, context

pytestmark = pytest.mark.anyio

HOLD = Hold(reason="no source", rule="containment", risk=RiskClass.EXTERNAL)
LOOKS = tuple(Look(tool="find", arguments={"query": word}) for word in ("ada", "bob"))


class Asks(Check):
    """Holds until something was looked up; ``error`` is what goes wrong when it is asked for it."""

    name = "asks"

    def __init__(self, error=None):
        self.error = error
        self.found = False

    def judge(self, call, context, facts):
        return PASS if self.found else HOLD

    async def lookups(self, call, context):
        if self.error is not None:
            raise self.error
        return LOOKS


class Desk:
    """Approvals that somebody would see."""

    def __init__(self):
        self.asked, self.noted_calls = [], []

    async def ask(self, call, context, hold, granted):
        self.asked.append(call.id)
        return Deny(code="PC3040", reason="waits", approval=secrets.token_hex(4))

    async def settled(self, approval_id, context):
        return False

    def noted(self, call, context, verdict):
        self.noted_calls.append(call.id)


def line(check):
    journal, desk = Journal(), Desk()
    records = Records("test", journal, Memory(), Policy(), Clock())
    metrics = Metrics(CollectorRegistry())
    return Pipeline([Grant(), check], journal, records, metrics, approvals=desk), journal, desk


async def nothing(look):
    return None


async def test_nobody_is_asked_about_what_the_gate_looks_up_itself():
    made, journal, desk = line(Asks())
    look = msgspec.structs.replace(call(), looked_up_for="another")
    outcome = await made.request(look, context(), nothing)
    denied = Deny(code="PC3060", reason="no source", rule="containment", risk=RiskClass.EXTERNAL)
    assert (outcome.verdict, outcome.held) == (denied, None)
    assert (desk.asked, desk.noted_calls) == ([], [])
    assert [(one.code, one.verdict, one.looked_up_for) for one in journal.events] == [
        ("PC3060", "deny", "another")
    ]
    await made.request(call(), context())
    assert desk.asked == desk.noted_calls == [call().id]


@pytest.mark.parametrize("error", [Problem("PC9002", "no labels"), RuntimeError("boom")])
async def test_a_look_up_that_cannot_be_thought_of_leaves_the_question_as_it_was(error):
    made, journal, desk = line(Asks(error))
    outcome = await made.request(call(), context(), nothing)
    assert outcome.verdict.code == "PC3040"
    assert desk.asked == [call().id]
    assert [one.verdict for one in journal.events] == ["hold"]


@pytest.mark.parametrize("error", [Problem("PC5011", "gone"), RuntimeError("boom"), None])
async def test_what_was_found_before_a_look_up_failed_or_took_too_long_counts(error, monkeypatch):
    monkeypatch.setattr(pipeline, "_LOOK_SECONDS", 0.05)
    check = Asks()
    made, journal, desk = line(check)
    seen = []

    async def look(one):
        seen.append(one)
        if one is LOOKS[1] and error is not None:
            raise error
        if one is LOOKS[1]:
            await asyncio.Event().wait()
        check.found = True

    async with asyncio.timeout(5):
        outcome = await made.request(call(), context(), look)
    assert outcome.verdict.rule == "rule"
    assert seen == list(LOOKS)
    assert desk.asked == []
    assert [one.verdict for one in journal.events] == ["allow"]


async def test_all_look_ups_of_a_call_together_have_a_time(monkeypatch):
    monkeypatch.setattr(pipeline, "_LOOK_SECONDS", 0.05)
    made, journal, desk = line(Asks())

    async def look(one):
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        outcome = await made.request(call(), context(), look)
    assert outcome.verdict.code == "PC3040"
    assert desk.asked == [call().id]
    assert [one.verdict for one in journal.events] == ["hold"]
