"""If these fail, a session does more than its budget, or pays for what did not happen."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import pytest

from policies import call, chained, context, session_of
from portcullis.checks.budget import Budget
from portcullis.core.approval import State
from portcullis.core.call import Action, RiskClass
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.principal import Measure, Session
from portcullis.core.verdict import Allow
from unit.gateway import test_holds
from unit.gateway.test_holds import HOLD, Holding, World
from unit.gateway.test_pipeline import Grant, Refuse, line

pytestmark = pytest.mark.anyio
READ, EFFECT = RiskClass.READ, RiskClass.EXTERNAL
OVER = "the session's budget of {} is used up"


class Purse:
    """Implements ``Spending``; ``taken`` is what was taken, in order."""

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.taken: list[Measure] = []

    async def take(self, session: Session, measures: Collection[Measure]) -> Measure | None:
        left = await self.left(session)
        for measure in measures:
            if left.get(measure) == 0:
                return measure
        self.taken += measures
        return None

    async def left(self, session: Session) -> dict[Measure, int]:
        if self.problem is not None:
            raise self.problem
        return {one: limit - self.taken.count(one) for one, limit in session.budget.items()}


class Late(Check):
    name = "late"

    async def going(self, call, context, risk):
        raise Problem("PC9002", "its labels cannot be written")


def around(agent="support-1", **budget: int):
    session = msgspec.structs.replace(session_of(agent), budget=budget, expires_at=2e9)
    return context(agent, session=session)


@pytest.fixture
def purse() -> Purse:
    return Purse()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.engine.dispose()


async def asked(purse, where, *checks, **fields):
    pipeline, journal = line(*checks, Budget(purse))
    return (await pipeline.request(call(**fields), where)).verdict, journal


async def test_as_many_calls_go_as_the_session_may_have_and_the_next_is_on_record(purse):
    where = around(calls=2)
    for _ in range(2):
        assert isinstance((await asked(purse, where, Grant(READ)))[0], Allow)
    denied, journal = await asked(purse, where, Grant(READ))
    assert (denied.code, denied.reason) == ("PC3061", OVER.format("calls"))
    event = journal.events[-1]
    assert (event.code, event.check, event.verdict) == ("PC3061", "budget", "deny")


async def test_effects_are_counted_by_what_the_call_does_and_reads_go_on(purse):
    where = around(effects=1)
    for risk in RiskClass:
        verdict, _ = await asked(Purse(), around(effects=1), Grant(risk))
        assert isinstance(verdict, Allow)
    await asked(purse, where, Grant(RiskClass.MODIFY))
    for risk in (RiskClass.MODIFY, RiskClass.EXTERNAL, RiskClass.DELETE, None):
        denied, _ = await asked(purse, where, Grant(risk))
        assert (denied.code, denied.reason) == ("PC3061", OVER.format("effects"))
    assert isinstance((await asked(purse, where, Grant(READ)))[0], Allow)
    assert purse.taken == ["calls", "effects", "calls"]


async def test_what_is_denied_before_or_beside_takes_nothing(purse):
    where = around(calls=1, effects=1)
    for checks in ((), (Grant(EFFECT), Refuse()), (Grant(EFFECT), Late())):
        denied, _ = await asked(purse, where, *checks)
        assert denied.code in {"PC3001", "PC9002"}
    pipeline, _ = line(Grant(EFFECT), Budget(purse))
    assert await pipeline.permits(call(), where)
    assert purse.taken == []


async def test_calls_of_the_gate_s_own_take_nothing_and_are_let_through_when_nothing_is_left(purse):
    where = around(calls=1)
    await asked(purse, where, Grant(READ))
    looked, _ = await asked(purse, where, Grant(READ), looked_up_for="e1")
    assert isinstance(looked, Allow)
    assert (await asked(purse, where, Grant(READ)))[0].code == "PC3061"
    assert purse.taken == ["calls"]


@pytest.mark.parametrize("action", [one for one in Action if one is not Action.TOOL])
async def test_only_tool_calls_count(purse, action):
    verdict, _ = await asked(purse, around(calls=1), Grant(EFFECT), action=action)
    assert isinstance(verdict, Allow)
    assert purse.taken == []


async def test_who_has_no_budget_is_not_counted(purse):
    purse.problem = Problem("PC9002", "nobody is to ask")
    for where in (around(), context()):
        assert isinstance((await asked(purse, where, Grant(EFFECT)))[0], Allow)


@pytest.mark.parametrize("code", ["PC9002", "PC2006"])
async def test_what_cannot_be_counted_does_not_go(purse, code):
    purse.problem = Problem(code, "no state")
    denied, journal = await asked(purse, around(calls=9), Grant(READ))
    assert (denied.code, journal.events[-1].code) == (code, code)


async def test_agents_that_act_for_one_another_in_a_session_share_its_budget(purse):
    mine = around(calls=2)
    theirs = chained(context("helper", session=mine.session), "support-1")
    for where in (mine, theirs):
        assert isinstance((await asked(purse, where, Grant(READ)))[0], Allow)
    for where in (mine, theirs):
        assert (await asked(purse, where, Grant(READ)))[0].code == "PC3061"


async def test_what_waits_for_a_human_takes_nothing_until_it_goes(world, purse):
    where = around(calls=1, effects=1)
    pipeline = world.line(Grant(EFFECT), Holding(HOLD), Budget(purse))
    waiting = (await pipeline.request(test_holds.call(), where)).verdict
    assert (waiting.code, purse.taken) == ("PC3040", [])
    world.approve(waiting.approval)
    assert isinstance((await pipeline.request(test_holds.call(), where)).verdict, Allow)
    assert purse.taken == ["calls", "effects"]


async def test_no_human_is_asked_and_no_approval_used_when_nothing_is_left(world, purse):
    where = around(effects=1)
    pipeline = world.line(Grant(READ), Holding(HOLD), Budget(purse))
    waiting = (await pipeline.request(test_holds.call(), where)).verdict
    world.approve(waiting.approval)
    purse.taken.append("effects")
    known = len(world.store.list(State, 10))
    for body in (test_holds.call(), test_holds.call(arguments={"to": "another"})):
        outcome = await pipeline.request(body, where)
        assert (outcome.verdict.code, outcome.check, outcome.held) == ("PC3061", "budget", None)
        assert outcome.risk is HOLD.risk
    assert world.store.get(waiting.approval).state is State.APPROVED
    assert len(world.store.list(State, 10)) == known
    assert world.journal.events[-1].code == "PC3061"
