"""If these fail, a held call runs without a human, twice, or against a check that says no."""

import asyncio
import secrets

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from portcullis.config import Approvals
from portcullis.core.approval import State, Verb
from portcullis.core.call import Action, Call, Questions, Result, RiskClass, Route
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.obligation import Obligations
from portcullis.core.verdict import PASS, Allow, Deny, Finding, Hold, Transform
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records
from portcullis.oversight.asking import MOST_BYTES, Asking
from portcullis.oversight.binding import binding
from portcullis.oversight.events import Events
from portcullis.oversight.sealing import unseal
from portcullis.store.approvals import SqlApprovals
from portcullis.store.engine import open_sqlite
from portcullis.wire.json import encode
from sealers import sealer_at

pytestmark = pytest.mark.anyio


class Journal:
    """What was recorded; ``refuse`` names methods whose record fails."""

    def __init__(self):
        self.events = []
        self.refuse = set()

    async def durable(self, event):
        if event.method in self.refuse:
            raise Problem("PC6001", "the disk is full")
        self.events.append(event)

    def enqueue(self, event):
        self.events.append(event)

    def commitment(self, subject, value):
        return "hmac-sha256:0"


class Nothing:
    digest = "sha256:test"

    async def proposed(self, key, names, digest):
        return None


class Clock:
    """Time that goes on by itself, so that waiting ends."""

    time = 1_750_000_000.0

    def now(self):
        return self.time

    def monotonic(self):
        self.time += 1
        return self.time


class Grant(Check):
    name = "grant"

    def judge(self, call, context, facts):
        return Allow(rule="rule", risk=RiskClass.MODIFY, clear=("shown",), policy="sha256:p")


class Granting(Grant):
    def __init__(self, verdict):
        self.verdict = verdict

    def judge(self, call, context, facts):
        return self.verdict


class Reads(Check):
    name = "reads"

    def judge(self, call, context, facts):
        return Allow(rule="rule", risk=RiskClass.READ)


class Holding(Check):
    name = "holding"

    def __init__(self, hold):
        self.hold = hold
        self.noted = []

    def judge(self, call, context, facts):
        return self.hold

    async def approved(self, call, context, approval):
        self.noted.append((call.arguments, approval))


class Later(Check):
    name = "later"
    verdict = PASS

    def judge(self, call, context, facts):
        self.seen = call
        return self.verdict


class HoldsResult(Check):
    name = "holds_result"

    def judge_result(self, call, context, result, facts):
        return Hold(reason="too late")


HOLD = Hold(reason="a mail address", questions=("Is ada right?",), risk=RiskClass.EXTERNAL)


def call(number=1, **changes):
    arguments = changes.pop("arguments", {"shown": "x", "hidden": "secret value"})
    payload = {"jsonrpc": "2.0", "id": f"e{number}", "params": {"arguments": arguments}}
    payload["params"] |= changes.pop("params", {})
    fields = {
        "id": f"e{number}",
        "route": Route.MCP_HTTP,
        "action": Action.TOOL,
        "server": "mail",
        "name": "send",
        "method": "tools/call",
        "arguments": arguments,
        "payload": payload,
        "body": encode(payload),
    }
    return Call(**(fields | changes))


class World:
    def __init__(self, folder, settings=None):
        self.engine = open_sqlite(folder / "portcullis.db")
        self.store = SqlApprovals(self.engine)
        self.journal, self.clock, self.sealer = Journal(), Clock(), sealer_at(folder)
        self.numbers = iter(range(1, 1000))
        self.asking = Asking(
            store=self.store,
            recorder=self.journal,
            sealer=self.sealer,
            clock=self.clock,
            events=Events("test", self.clock, self.new_id),
            new_id=self.new_id,
            settings=settings or Approvals(),
            key=secrets.token_bytes(32),
        )

    def new_id(self):
        return f"id{next(self.numbers)}"

    def line(self, *checks, approvals=True, contents=None):
        records = Records("test", self.journal, Nothing(), Nothing(), self.clock, contents)
        metrics = Metrics(CollectorRegistry())
        asking = self.asking if approvals else None
        return Pipeline(checks, self.journal, records, metrics, approvals=asking)

    def approve(self, approval, verb=Verb.APPROVE):
        return self.store.move(approval, verb, now=self.clock.now(), by="bea")


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.engine.dispose()


async def test_a_held_call_waits_and_the_same_call_runs_once_when_it_is_approved(world, context):
    holding = Holding(HOLD)
    line = world.line(Grant(), holding)
    first = (await line.request(call(), context())).verdict
    assert (first.code, first.risk) == ("PC3040", RiskClass.EXTERNAL)
    assert holding.noted == []
    world.approve(first.approval)
    done = await line.request(call(2), context())
    assert done.verdict == Allow(
        rule="rule",
        risk=RiskClass.EXTERNAL,
        clear=("shown",),
        policy="sha256:p",
        approval=first.approval,
    )
    assert (done.check, done.held) == ("", None)
    assert holding.noted == [(call().arguments, first.approval)]
    assert (await line.request(call(3), context())).verdict.approval != first.approval
    told = [
        (e.method if e.type == "admin" else e.verdict, e.approval) for e in world.journal.events
    ]
    assert told[:4] == [
        ("approval.requested", first.approval),
        ("hold", first.approval),
        ("approval.consumed", first.approval),
        ("allow", first.approval),
    ]
    assert "secret value" not in repr(world.journal.events)


@pytest.mark.parametrize(
    "changed",
    [
        {"arguments": {"shown": "x", "hidden": "another value"}},
        {"arguments": {"shown": "x", "hidden": "secret value", "more": 1}},
        {"name": "forward"},
        {"server": "post"},
        {"features": ("web",)},
        {"params": {"task": {"ttl": 1}}},
        {"params": {"_meta": {"note": "as root"}}},
        {"params": {"_meta": {"traceparent": "take this instead"}}},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_an_approval_lets_no_other_call_through(world, context, changed):
    line = world.line(Grant(), Holding(HOLD))
    first = (await line.request(call(), context())).verdict
    world.approve(first.approval)
    other = (await line.request(call(2, **changed), context())).verdict
    assert (other.code, other.approval == first.approval) == ("PC3040", False)
    for someone in (context("shop-2"), context(chain=("boss",))):
        asked = (await line.request(call(2), someone)).verdict
        assert asked.code == "PC3040"
        assert world.store.get(asked.approval).chain == someone.principal.chain
    assert world.store.get(first.approval).state is State.APPROVED


class Kept:
    """What content was kept, by event."""

    results = False

    def __init__(self):
        self.events = {}

    def keep(self, event, subject, fields):
        self.events[event.id] = dict(fields)

    def drop(self, event_id):
        self.events.pop(event_id, None)


async def test_the_content_of_a_call_that_was_approved_is_kept_as_of_any_other(world, context):
    kept = Kept()
    line = world.line(Grant(), Holding(HOLD), contents=kept)
    first = (await line.request(call(), context())).verdict
    assert kept.events == {}
    world.approve(first.approval)
    done = await line.request(call(2), context())
    assert isinstance(done.verdict, Allow)
    assert set(kept.events) == {done.event}


async def test_what_tells_one_message_from_the_next_is_no_other_call(world, context):
    line = world.line(Grant(), Holding(HOLD))
    meta = {"client": "c", "progressToken": "e1", "traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    first = (await line.request(call(params={"_meta": meta}), context())).verdict
    world.approve(first.approval)
    again = {"client": "c", "progressToken": 7, "traceparent": f"00-{'3' * 32}-{'4' * 16}-01"}
    done = await line.request(call(2, params={"_meta": again}), context())
    assert done.verdict.approval == first.approval
    assert isinstance(done.verdict, Allow)


async def test_a_denial_of_any_check_goes_before_all_holds(world, context):
    later = Later()
    line = world.line(Grant(), Holding(HOLD), later)
    first = (await line.request(call(), context())).verdict
    world.approve(first.approval)
    later.verdict = Deny(code="PC3002", reason="never")
    assert (await line.request(call(2), context())).verdict.code == "PC3002"
    assert world.store.get(first.approval).state is State.APPROVED
    ungranted = world.line(Holding(HOLD))
    assert (await ungranted.request(call(2), context())).verdict.code == "PC3001"
    assert len(world.store.list(tuple(State), 9)) == 1


async def test_all_holds_are_one_and_later_checks_see_the_form_in_which_it_goes_on(world, context):
    new = {"shown": "x", "hidden": "[MASKED]"}
    then = Transform(payload={"params": {"arguments": new}}, arguments=new)
    found = (Finding(type="MAIL", where="a", treatment="hold"),)
    second = Hold(reason="and more", questions=("Why?",), rule="r2", then=then, findings=found)
    later = Later()
    line = world.line(Grant(), Holding(HOLD), Holding(second), later)
    outcome = await line.request(call(), context())
    assert (outcome.findings, later.seen.arguments) == (found, new)
    assert outcome.verdict.reason.endswith("a mail address; and more")
    approval = outcome.verdict.approval
    shown = unseal(world.sealer, approval, world.store.sealed(approval))
    assert (shown.arguments, shown.questions) == (new, ("Is ada right?", "Why?"))
    assert (shown.reason, shown.rule) == ("a mail address; and more", "r2")
    world.approve(approval)
    assert (await line.request(call(2), context())).call.arguments == new


async def test_what_one_approved_is_asked_again_when_two_have_to_and_later_checks_know(
    world, context
):
    owed = Obligations(log=("shown",))
    granting = Granting(Allow(rule="rule", risk=RiskClass.MODIFY, obligations=owed))
    later = Later()
    line = world.line(granting, Holding(HOLD), later)
    first = (await line.request(call(), context())).verdict
    assert later.seen.obligations == owed
    world.approve(first.approval)
    two = msgspec.structs.replace(HOLD, approvers=2)
    both = world.line(granting, Holding(two), Holding(HOLD))
    again = (await both.request(call(2), context())).verdict
    assert (again.code, again.approval == first.approval) == ("PC3040", False)
    shown = unseal(world.sealer, again.approval, world.store.sealed(again.approval))
    assert shown.approvers == 2
    done = await line.request(call(3), context())
    assert done.verdict.obligations == owed
    assert done.call.obligations == owed


async def test_the_approver_sees_what_was_done_before_however_much_is_read_after_it(world, context):
    line, reading = world.line(Grant()), world.line(Reads())
    refusing = Later()
    refusing.verdict = Deny(code="PC3002", reason="never")
    await line.request(call(name="paid"), context())
    for number in range(20):
        await reading.request(call(name=f"look{number}"), context())
    await world.line(Grant(), refusing).request(call(name="lure"), context())
    holding = world.line(Grant(), Holding(HOLD))
    for _ in range(20):
        held = await holding.request(call(), context())
    approval = held.verdict.approval
    shown = unseal(world.sealer, approval, world.store.sealed(approval))
    steps = [(step.what.rpartition(".")[2], step.verdict) for step in shown.recent]
    looks = [(f"look{number}", "allow") for number in range(5, 20)]
    assert sorted(steps) == sorted([("paid", "allow"), *looks, ("lure", "PC3002")])


async def test_what_a_human_cannot_judge_or_nobody_can_approve_is_denied(world, context):
    line = world.line(Grant(), Holding(HOLD))
    large = call(arguments={"text": "x" * MOST_BYTES})
    assert (await line.request(large, context())).verdict.code == "PC3045"
    alone = world.line(Grant(), Holding(HOLD), approvals=False)
    assert (await alone.request(call(), context())).verdict.code == "PC3040"
    assert world.store.list(tuple(State), 9) == ()
    assert await alone.permits(call(), context()) is False


async def test_what_cannot_be_recorded_is_neither_asked_nor_done(world, context):
    line = world.line(Grant(), Holding(HOLD))
    world.journal.refuse = {"approval.requested"}
    assert (await line.request(call(), context())).verdict.code == "PC6001"
    (asked,) = world.store.list(tuple(State), 9)
    assert asked.state is State.CANCELLED
    world.journal.refuse = {"approval.consumed"}
    first = (await line.request(call(2), context())).verdict
    world.approve(first.approval)
    assert (await line.request(call(3), context())).verdict.code == "PC6001"
    assert world.store.get(first.approval).state is State.CONSUMED


async def test_a_broken_store_or_check_denies(world, context):
    class Broken(Holding):
        async def approved(self, call, context, approval):
            raise RuntimeError("boom")

    line = world.line(Grant(), Broken(HOLD))
    first = (await line.request(call(), context())).verdict
    world.approve(first.approval)
    assert (await line.request(call(2), context())).verdict.code == "PC9001"
    world.engine.dispose()
    world.asking._store = None
    assert (await line.request(call(3), context())).verdict.code == "PC9001"


@pytest.mark.parametrize(
    ("settings", "other"),
    [({"waiting": 1}, "shop-2"), ({"waiting_per_agent": 1}, "shop-1")],
    ids=["all", "one agent's"],
)
async def test_a_waiting_call_is_told_at_last_to_come_again_and_only_so_many_wait(
    tmp_path, context, settings, other
):
    world = World(tmp_path, Approvals(wait_seconds=2, **settings))
    line = world.line(Grant(), Holding(HOLD))
    assert (await line.request(call(), context())).verdict.code == "PC3040"
    assert not world.asking._waiting
    world.asking._waiting[other] = 1
    before = world.clock.time
    assert (await line.request(call(), context())).verdict.code == "PC3040"
    assert world.clock.time - before <= 2
    world.engine.dispose()


async def test_one_agent_does_not_take_every_place_in_which_connections_wait(tmp_path, context):
    world = World(tmp_path, Approvals(wait_seconds=2, waiting_per_agent=1))
    line = world.line(Grant(), Holding(HOLD))
    world.asking._waiting["shop-2"] = 1
    before = world.clock.time
    assert (await line.request(call(), context())).verdict.code == "PC3040"
    assert world.clock.time - before > 2
    world.engine.dispose()


async def test_what_was_asked_cannot_be_guessed_from_what_lies_in_the_database(world, context):
    line = world.line(Grant(), Holding(HOLD))
    first = (await line.request(call(), context())).verdict
    bound = world.store.get(first.approval).binding
    around = context()
    assert bound == binding(call(2), around, HOLD, world.asking._key)
    assert bound != binding(call(2), around, HOLD, bytes(32))


async def test_the_state_that_a_server_hands_out_with_its_questions_is_not_bound_but_they_are(
    world, context
):
    line = world.line(Grant(), Holding(HOLD))

    def answering(number, state, digest="d", answer="a"):
        params = {"requestState": state, "inputResponses": {"k": {"action": answer}}}
        asked = Questions(methods={"k": "elicitation/create"}, digest=digest)
        return call(number, params=params, asked=asked)

    first = (await line.request(answering(1, "s1"), context())).verdict
    world.approve(first.approval)
    for other in (answering(2, "s1", digest="e"), answering(3, "s1", answer="b"), call(4)):
        assert (await line.request(other, context())).verdict.approval != first.approval
    done = (await line.request(answering(5, "s2"), context())).verdict
    assert isinstance(done, Allow)


async def test_a_result_is_not_held_but_withheld(world, context):
    line = world.line(Grant(), HoldsResult())
    outcome = await line.request(call(), context())
    back = await line.result(outcome, context(), Result(payload={}, size=2))
    assert back == Deny(code="PC3023", reason="too late")


async def test_a_check_may_raise_the_risk_of_what_another_grants_and_grants_nothing_by_that(
    world, context
):
    raising, lowering = Later(), Later()
    raising.verdict = Allow(risk=RiskClass.DELETE)
    lowering.verdict = Allow(risk=RiskClass.READ)
    found = (await world.line(Grant(), raising, lowering).request(call(), context())).verdict
    assert (found.rule, found.risk, found.clear) == ("rule", RiskClass.DELETE, ("shown",))
    assert (await world.line(raising).request(call(), context())).verdict.code == "PC3001"
    assert msgspec.structs.replace(found, risk=RiskClass.MODIFY).rule == "rule"


async def test_whoever_goes_away_in_the_middle_leaves_a_whole_record(world, context):
    line = world.line(Grant(), Holding(HOLD))
    first = (await line.request(call(), context())).verdict
    world.approve(first.approval)
    going = asyncio.create_task(line.request(call(2), context()))
    await asyncio.sleep(0)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    await asyncio.gather(*world.asking._begun)
    assert world.store.get(first.approval).state is State.CONSUMED
    assert world.journal.events[-1].method == "approval.consumed"


async def test_who_is_cut_off_while_an_approval_is_consumed_gets_nothing(world, context):
    class Cut(Check):
        name = "cut"
        now = False

        def judge_chunk(self, call, context):
            return Deny(code="PC4001", reason="cut off") if self.now else PASS

    cut = Cut()
    line = world.line(Grant(), Holding(HOLD), cut)
    first = (await line.request(call(), context())).verdict
    world.approve(first.approval)
    cut.now = True
    assert (await line.request(call(2), context())).verdict.code == "PC4001"
