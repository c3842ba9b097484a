"""If these fail, a call may act although a check said no, or without a record."""

import secrets

import pytest
from prometheus_client import CollectorRegistry

from portcullis.core.call import Action, Call, Context, Result, RiskClass, Route
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind, Proposal, Session
from portcullis.core.verdict import PASS, Allow, Deny, Finding, Transform
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records
from portcullis.wire.json import digest, encode

pytestmark = pytest.mark.anyio


class Journal:
    """A recorder that remembers what was asked of it, and in which way."""

    def __init__(self, *, fail_durable=False, full=False):
        self.events = []
        self.ways = []
        self.fail_durable = fail_durable
        self.full = full

    async def durable(self, event):
        if self.fail_durable:
            raise Problem("PC6001", "the disk is full")
        self.events.append(event)
        self.ways.append("durable")

    def enqueue(self, event):
        if self.full:
            raise Problem("PC6001", "the queue is full")
        self.events.append(event)
        self.ways.append("queued")

    def commitment(self, subject, value):
        return f"hmac-sha256:{hash((subject, value)):x}"


class Memory:
    def __init__(self):
        self.kept = {}

    async def propose(self, key, proposals):
        self.kept.setdefault(key, []).extend(proposals)

    async def proposed(self, key, names, wanted):
        for proposal in self.kept.get(key, []):
            if proposal.name in names and proposal.digest == wanted:
                return proposal
        return None


class Policy:
    digest = "sha256:test"


class Clock:
    def now(self):
        return 1_750_000_000.0

    def monotonic(self):
        return 0.0


class Grant(Check):
    name = "grant"

    def __init__(self, risk=RiskClass.READ):
        self.risk = risk

    def judge(self, call, context, facts):
        return Allow(rule="rule", risk=self.risk, clear=("shown",))


class Refuse(Check):
    name = "refuse"

    def judge(self, call, context, facts):
        return Deny(code="PC3001", reason="no")


class Broken(Check):
    name = "broken"

    def judge(self, call, context, facts):
        raise RuntimeError("boom")


class BrokenPrepare(Check):
    name = "broken_prepare"

    async def prepare(self, call, context):
        raise RuntimeError("boom")

    def judge(self, call, context, facts):
        return Allow(rule="never")


class Rewrite(Check):
    name = "rewrite"

    def judge(self, call, context, facts):
        payload = {"params": {"arguments": {"shown": "rewritten"}}}
        return Transform(payload=payload, arguments=payload["params"]["arguments"])


class Cut(Check):
    name = "cut"

    def judge_chunk(self, call, context):
        return Deny(code="PC4001", reason="cut off")


class Withhold(Check):
    name = "withhold"

    def judge_result(self, call, context, result, facts):
        return Deny(code="PC5009", reason="broken")


class BrokenResult(Check):
    name = "broken_result"

    def judge_result(self, call, context, result, facts):
        raise RuntimeError("boom")


def line(*checks, journal=None, memory=None, registry=None, contents=None):
    journal = journal or Journal()
    records = Records("test", journal, memory or Memory(), Policy(), Clock(), contents)
    metrics = Metrics(registry or CollectorRegistry())
    return Pipeline(checks, journal, records, metrics), journal


def call(**changes):
    arguments = changes.pop("arguments", {"shown": "x", "hidden": "secret value"})
    fields = {
        "id": "e1",
        "route": Route.MCP_HTTP,
        "action": Action.TOOL,
        "server": "orders",
        "name": "search",
        "method": "tools/call",
        "arguments": arguments,
        "payload": {"params": {"arguments": arguments}},
        "body": encode(arguments),
    }
    return Call(**(fields | changes))


def context(session=None):
    principal = Principal(
        kind=PrincipalKind.AGENT, id="a1", credential="t1", expires_at=2e9, session=None
    )
    return Context(
        principal=principal, session=session, source="test", trace_id="0" * 32, received_at=0.0
    )


async def test_what_no_check_grants_is_denied():
    pipeline, journal = line()
    outcome = await pipeline.request(call(), context())
    assert outcome.verdict.code == "PC3001"
    assert journal.events[0].verdict == "deny"


DRAWN = secrets.token_hex(16)


@pytest.mark.parametrize(
    "name",
    [
        *(f"ghp_{DRAWN}", "ada@shop.example", "call 555-123-4567", "4" * 16, f"x/{DRAWN}"),
        *(f"{'a' * 24}-" * 10 + "!", "Ab" * 99),
    ],
    ids=["token", "address", "number", "digits", "path", "slug", "letters"],
)
async def test_what_is_refused_before_it_is_read_leaves_no_content_in_the_log(name):
    pipeline, journal = line()
    await pipeline.request(call(name=name, features=("openai.tools", name)), context())
    pipeline.refused(Problem("PC1034", "no"), method=name)
    decided, refused = journal.events
    assert decided.features == ("openai.tools", "?")
    assert (decided.name, refused.method) == ("?", "?")
    assert decided.commitments["name"]
    assert name not in str(journal.events)


@pytest.mark.parametrize(
    "name",
    [
        *("orders.delete_all", "gpt-4o-mini-2024-07-18", "claude-opus-4-5-20251101"),
        *("DELETE /openai", "file:///etc/passwd", "tools/unknown", "getCustomerByName"),
    ],
)
async def test_names_as_people_give_them_are_in_the_log_of_what_was_refused(name):
    pipeline, journal = line()
    await pipeline.request(call(name=name), context())
    pipeline.refused(Problem("PC1034", "no"), method=name)
    assert [journal.events[0].name, journal.events[1].method] == [name, name]


class Finds(Check):
    name = "finds"

    def __init__(self, where):
        self.where = where

    def judge(self, call, context, facts):
        found = Finding(type="CANARY", where=self.where, treatment="block")
        return Deny(code="PC3020", reason="found", findings=(found,))


async def test_what_is_found_in_a_name_does_not_stand_in_the_log_as_one():
    leaked = "x1_canary"
    for where, changes in [
        ("params.uri, from honey record a", {"action": Action.RESOURCE, "name": f"x:{leaked}"}),
        ("params.arguments.?, from honey record a", {"arguments": {leaked: 1}}),
        ("params.arguments.q", {"arguments": {f"{leaked}-1": 1, "q": 2}}),
    ]:
        pipeline, journal = line(Finds(where))
        await pipeline.request(call(**changes), context())
        assert leaked not in str(journal.events[0])
    assert set(journal.events[0].commitments) == {"request", "arguments.?0", "arguments.q"}


async def test_a_read_may_ride_the_queue_but_an_effect_waits_for_the_disk():
    for risk, way in [
        (RiskClass.READ, "queued"),
        (RiskClass.MODIFY, "durable"),
        (RiskClass.EXTERNAL, "durable"),
        (RiskClass.DELETE, "durable"),
    ]:
        pipeline, journal = line(Grant(risk))
        outcome = await pipeline.request(call(), context())
        assert isinstance(outcome.verdict, Allow)
        assert journal.ways == [way]


async def test_a_grant_without_a_risk_class_counts_as_the_highest():
    pipeline, journal = line(Grant(None))
    outcome = await pipeline.request(call(), context())
    assert outcome.risk is RiskClass.DELETE
    assert journal.ways == ["durable"]


async def test_an_effect_that_cannot_be_recorded_is_denied():
    pipeline, _ = line(Grant(RiskClass.MODIFY), journal=Journal(fail_durable=True))
    outcome = await pipeline.request(call(), context())
    assert outcome.verdict.code == "PC6001"


async def test_a_read_is_denied_when_the_queue_is_full():
    pipeline, _ = line(Grant(), journal=Journal(full=True))
    outcome = await pipeline.request(call(), context())
    assert outcome.verdict.code == "PC6001"


class Kept:
    """Content of calls, by their events."""

    results = True

    def __init__(self):
        self.events = {}

    def keep(self, event, subject, fields):
        self.events[event.id] = fields

    def drop(self, event_id):
        del self.events[event_id]


@pytest.mark.parametrize("risk", [RiskClass.READ, RiskClass.MODIFY])
async def test_nothing_is_kept_of_a_call_that_could_not_be_recorded(risk):
    for journal in (Journal(fail_durable=True, full=True), Journal()):
        contents = Kept()
        pipeline, _ = line(Grant(risk), journal=journal, contents=contents)
        await pipeline.request(call(), context())
        assert bool(contents.events) is not journal.full


async def test_nothing_is_kept_of_a_result_that_could_not_be_recorded():
    contents, journal = Kept(), Journal()
    pipeline, _ = line(Grant(), journal=journal, contents=contents)
    outcome = await pipeline.request(call(), context())
    journal.full = True
    await pipeline.result(outcome, context(), Result(payload={"x": 1}, size=3))
    assert list(contents.events) == [outcome.event]


@pytest.mark.parametrize("broken", [Broken(), BrokenPrepare()])
async def test_a_fault_in_a_check_denies(broken):
    pipeline, journal = line(Grant(), broken)
    outcome = await pipeline.request(call(), context())
    assert outcome.verdict.code == "PC9001"
    assert journal.events[0].check == broken.name


async def test_the_first_refusal_ends_the_line():
    pipeline, journal = line(Refuse(), Broken())
    outcome = await pipeline.request(call(), context())
    assert outcome.verdict.code == "PC3001"
    assert journal.events[0].check == "refuse"


async def test_a_principal_cut_off_while_its_record_was_written_does_not_act():
    pipeline, journal = line(Grant(RiskClass.MODIFY), Cut())
    outcome = await pipeline.request(call(), context())
    assert outcome.verdict.code == "PC4001"
    assert [event.verdict for event in journal.events] == ["allow", "error"]


async def test_a_rewritten_call_is_what_is_recorded_and_forwarded():
    pipeline, journal = line(Rewrite(), Grant())
    outcome = await pipeline.request(call(), context())
    assert outcome.call.arguments == {"shown": "rewritten"}
    assert outcome.call.body == encode(outcome.call.payload)
    assert journal.events[0].parameters == {"shown": "rewritten"}


async def test_only_clear_fields_stand_in_the_log():
    pipeline, journal = line(Grant())
    await pipeline.request(call(), context())
    event = journal.events[0]
    assert event.parameters == {"shown": "x"}
    assert "secret value" not in encode(event).decode()
    assert event.commitments["arguments.hidden"].startswith("hmac-sha256:")


async def test_a_session_stands_in_the_log_without_user_and_subject():
    session = Session(
        id="s1",
        agent="a1",
        application="app",
        user="jane@example.org",
        prompt="find my order",
        subject={"customer_id": "C-77"},
        grant=None,
        opened_at=0,
        expires_at=2e9,
    )
    pipeline, journal = line(Grant())
    await pipeline.request(call(), context(session))
    text = encode(journal.events[0]).decode()
    assert "jane@example.org" not in text
    assert "C-77" not in text
    assert "find my order" not in text
    assert journal.events[0].application == "app"


async def test_a_call_is_linked_to_the_model_turn_that_proposed_it():
    memory = Memory()
    arguments = {"shown": "x", "hidden": "secret value"}
    await memory.propose(
        "agent:a1", [Proposal(name="orders_search", digest=digest(arguments), event="turn")]
    )
    pipeline, journal = line(Grant(), memory=memory)
    await pipeline.request(call(), context())
    assert journal.events[0].proposed_by == "turn"


async def test_a_withheld_result_is_recorded_as_denied():
    pipeline, journal = line(Grant(), Withhold())
    outcome = await pipeline.request(call(), context())
    judged = await pipeline.result(outcome, context(), Result(payload={"x": 1}, size=3))
    assert judged.code == "PC5009"
    assert journal.events[-1].verdict == "deny"
    assert journal.events[-1].decision == outcome.event


async def test_a_fault_on_the_way_back_withholds_the_result():
    pipeline, _ = line(Grant(), BrokenResult())
    outcome = await pipeline.request(call(), context())
    judged = await pipeline.result(outcome, context(), Result(payload={"x": 1}, size=3))
    assert judged.code == "PC9001"


async def test_a_result_that_cannot_be_recorded_is_withheld():
    journal = Journal()
    pipeline, _ = line(Grant(), journal=journal)
    outcome = await pipeline.request(call(), context())
    journal.full = True
    judged = await pipeline.result(outcome, context(), Result(payload={"x": 1}, size=3))
    assert judged.code == "PC6001"


async def test_a_stream_stops_when_its_principal_is_cut_off():
    pipeline, _ = line(Grant(), Cut())
    assert pipeline.chunk(call(), context()).code == "PC4001"


@pytest.mark.parametrize(
    "finish", ["sk_live_9f2c41d07be85a63e1f04c2d", "AKIA" + "QWERTYUIOPASDFGH", "ghp_a1b2C3d4E5f6"]
)
async def test_a_key_that_an_upstream_gives_as_its_end_stays_out_of_the_log(finish):
    pipeline, journal = line(Grant())
    outcome = await pipeline.request(call(), context())
    await pipeline.result(outcome, context(), Result(payload={}, size=1, finish=finish))
    assert [event.result.finish for event in journal.events if event.result] == ["other"]


@pytest.mark.parametrize(
    "finish",
    ["stop", "content_filter", "end_turn", "model_context_window_exceeded", "in_progress"],
)
async def test_how_an_answer_ended_is_in_the_log(finish):
    pipeline, journal = line(Grant())
    outcome = await pipeline.request(call(), context())
    await pipeline.result(outcome, context(), Result(payload={}, size=1, finish=finish))
    assert [event.result.finish for event in journal.events if event.result] == [finish]


async def test_what_an_upstream_says_of_its_end_stands_in_the_log_only_as_a_word():
    pipeline, journal = line(Grant())
    outcome = await pipeline.request(call(), context())
    for finish in ("tool_calls", "the customer's card is 4111 1111 1111 1111", "x" * 41, ""):
        await pipeline.result(outcome, context(), Result(payload={}, size=1, finish=finish))
    ends = [event.result.finish for event in journal.events if event.result]
    assert ends == ["tool_calls", "other", "other", "other"]


SEEN = (
    Finding(type="CREDIT_CARD", where="messages[0].content", treatment="tokenise"),
    Finding(type="CREDIT_CARD", where="messages[0].content", treatment="tokenise"),
    Finding(type="NOTE", where="x"),
)
SHOWN = ("CREDIT_CARD:tokenise@messages[0].content", "NOTE@x")


class Look(Check):
    """Finds things on every way, having looked for them first."""

    name = "look"

    def __init__(self, verdict):
        self.verdict = verdict

    async def prepare_result(self, call, context, result):
        return result.payload["x"] + 1

    def judge(self, call, context, facts):
        return self.verdict

    def judge_result(self, call, context, result, facts):
        return Transform(payload={"x": facts}, findings=SEEN)

    def judge_stream(self, call, context):
        return Judge()


class Judge:
    findings = SEEN

    def text(self, key, piece, *, last):
        raise RuntimeError("boom")

    def whole(self, key, text, *, json, sealed=False, error=False):
        return text.upper()

    def end(self, result):
        return None if result.finish == "stop" else Deny(code="PC3028", reason="not the form")


def counted(registry, channel):
    name, labels = "portcullis_findings_total", {"entity": "CREDIT_CARD", "treatment": "tokenise"}
    return registry.get_sample_value(name, labels | {"channel": channel})


@pytest.mark.parametrize(
    "verdict",
    [Deny(code="PC3021", reason="no", findings=SEEN), Transform(payload={}, findings=SEEN)],
)
async def test_what_was_found_stands_in_the_record_whatever_came_of_it(verdict):
    registry = CollectorRegistry()
    pipeline, journal = line(Look(verdict), Grant(), registry=registry)
    await pipeline.request(call(), context())
    assert journal.events[0].findings == SHOWN
    assert counted(registry, "to_tool") == 2


async def test_a_result_is_judged_by_what_was_fetched_for_it():
    registry = CollectorRegistry()
    pipeline, journal = line(Grant(), Look(PASS), registry=registry)
    outcome = await pipeline.request(call(), context())
    judged = await pipeline.result(outcome, context(), Result(payload={"x": 1}, size=3))
    assert judged.payload == {"x": 2}
    assert journal.events[-1].findings == SHOWN
    assert counted(registry, "from_tool") == 2


async def test_what_a_server_says_before_its_answer_is_judged_and_recorded_with_it():
    pipeline, journal = line(Grant(), Look(PASS))
    outcome = await pipeline.request(call(), context())
    notice = await pipeline.notice(call(), context(), Result(payload={"x": 5}, size=1))
    assert (notice.payload, notice.findings, len(journal.events)) == ({"x": 6}, SEEN, 1)
    assert (await line(Withhold())[0].notice(call(), context(), notice)).code == "PC5009"
    back = Result(payload={"x": 1}, size=1)
    later = Finding(type="EARLY", where="message")
    await pipeline.result(outcome, context(), back, findings=[later])
    assert journal.events[-1].findings == ("EARLY@message", *SHOWN)


async def test_a_fault_in_the_judge_of_a_stream_denies():
    pipeline, _ = line(Grant(), Look(PASS))
    judge = pipeline.stream(call(), context())
    assert judge.text("k", "x", last=False).code == "PC9001"
    assert judge.whole("k", "x", json=False) == "X"
    assert line(Grant())[0].stream(call(), context()) is None


async def test_a_stream_has_its_end_judged_and_its_findings_recorded():
    pipeline, journal = line(Grant())
    outcome = await pipeline.request(call(), context())
    streamed = Result(payload=None, size=3, finish="length")
    denied = await pipeline.result(outcome, context(), streamed, judge=Judge())
    assert denied.code == "PC3028"
    pipeline.stopped(outcome, context(), streamed, Judge(), Deny(code="PC3021", reason="in k"))
    for event, code in zip(journal.events[1:], ("PC3028", "PC3021"), strict=True):
        assert (event.verdict, event.code, event.check) == ("deny", code, "inspect")
        assert event.findings == SHOWN
