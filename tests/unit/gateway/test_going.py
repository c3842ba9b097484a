"""What checks have to do before a call goes out is done before, and only for what goes out."""

from __future__ import annotations

import pytest

from portcullis.core.call import Result, RiskClass
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.verdict import PASS
from unit.gateway.test_pipeline import Grant, Refuse, call, context, line

pytestmark = pytest.mark.anyio


class Going(Check):
    name = "going"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.seen: list[str] = []

    async def going(self, call, context, risk):
        self.seen.append((call.id, risk))
        if self.error is not None:
            raise self.error


class Gone(Check):
    name = "gone"

    async def prepare(self, call, context):
        raise Problem("PC2006", "the session has been closed or has expired")

    def judge(self, call, context, facts):
        return PASS

    async def prepare_result(self, call, context, result):
        raise Problem("PC9002", "it cannot be written")

    def judge_result(self, call, context, result, facts):
        return PASS


@pytest.mark.parametrize("risk", [RiskClass.READ, RiskClass.EXTERNAL])
async def test_what_is_let_through_is_told_once_and_goes(risk):
    going = Going()
    pipeline, _ = line(Grant(risk), going)
    assert (await pipeline.request(call(), context())).verdict.rule == "rule"
    assert going.seen == [(call().id, risk)]


async def test_what_is_refused_or_only_asked_about_is_not_told():
    going = Going()
    pipeline, _ = line(Grant(), Refuse(), going)
    await pipeline.request(call(), context())
    pipeline, _ = line(Grant(), going)
    assert await pipeline.permits(call(), context())
    assert going.seen == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(Problem("PC9002", "it cannot be written"), "PC9002"), (RuntimeError("boom"), "PC9001")],
)
async def test_what_a_check_cannot_make_ready_does_not_go_and_is_recorded(error, code):
    pipeline, journal = line(Grant(RiskClass.EXTERNAL), Going(error))
    outcome = await pipeline.request(call(), context())
    assert (outcome.verdict.code, outcome.check) == (code, "going")
    assert outcome.risk is RiskClass.EXTERNAL
    assert [(one.code, one.verdict) for one in journal.events] == [(code, "deny")]


async def test_a_check_that_says_what_it_lacks_denies_with_its_own_code():
    pipeline, journal = line(Grant(), Gone())
    assert (await pipeline.request(call(), context())).verdict.code == "PC2006"
    pipeline, journal = line(Grant(), type("Late", (Gone,), {"prepare": Check.prepare})())
    outcome = await pipeline.request(call(), context())
    back = await pipeline.result(outcome, context(), Result(payload={}, size=2))
    assert back.code == "PC9002"
    assert journal.events[-1].code == "PC9002"
