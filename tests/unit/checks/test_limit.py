"""If these fail, calls go that a limit is of, or are charged what they did not take."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from policies import context, policy_of, session_of
from portcullis.checks.limit import Limiting
from portcullis.checks.limits_run import Sizes
from portcullis.core.behaviour import RiskLevel
from portcullis.core.call import Action, Call, Result, RiskClass, Route, Usage
from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Price
from portcullis.core.verdict import PASS, Allow, Deny
from portcullis.store.counters_local import LocalCounter

pytestmark = pytest.mark.anyio
READ = RiskClass.READ
HEAD = """version: 1
agents: {shop: {role: seller}, aide: {role: helper}, lone: {role: helper}}
roles: {seller: {models: [gpt-*]}, helper: {models: [gpt-*]}}
limits:
"""


class Clock:
    time = 1_800_000_000.0  # 2027-01-15T08:00:00Z

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


class Prices:
    """A token of input is 1 millionth, one of output 10, one from the cache a tenth."""

    ready = True
    known = True

    def price(self, api, model):
        if not self.known or model == "gpt-odd":
            return None
        return Price(steps=((0, 1000, 10_000, 100, 2000),), most=0)


class Told:
    def __init__(self):
        self.spent, self.burnt, self.level_of = [], [], {}

    def on_spent(self, agent, micros, at):
        self.spent.append((agent, micros))

    def on_burn(self, limit, agent):
        self.burnt.append((limit, agent))

    def level(self, agent):
        return self.level_of.get(agent, RiskLevel.NORMAL)


class Book:
    def __init__(self, text):
        self.policy = policy_of(HEAD + text)

    @property
    def digest(self):
        return self.policy.digest

    @property
    def limits(self):
        return self.policy.limits

    def role_of(self, agent):
        return self.policy.roles.get(agent)


class World:
    def __init__(self, folder, text):
        self.clock, self.told, self.prices, self.book = Clock(), Told(), Prices(), Book(text)
        self.refused = []
        self.counter = LocalCounter(folder / "limits.db", self.clock)
        self.check = Limiting(
            self.book, self.counter, self.clock,
            prices=self.prices, levels=self.told, spent=self.told,
            sizes=Sizes(output_tokens=50, bytes_per_token=2, hold_seconds=100),
            mask=lambda user: f"~{len(user)}", refused=lambda *what: self.refused.append(what),
        )  # fmt: skip

    async def go(self, call, who=None):
        """Let a call go; the code that it is refused with."""
        try:
            await self.check.going(call, who or context("shop"), READ)
        except Problem as problem:
            self.problem = problem
            return problem.code
        return ""

    async def end(self, call, result=None, problem=None, who=None):
        self.check.finished(call, who or context("shop"), result, problem)
        await self.settled()

    async def settled(self):
        while self.check._tasks:  # noqa: ASYNC110 - it gives way
            await asyncio.sleep(0)

    async def counts(self):
        """By limit, measure and window, and whose."""
        page = await self.counter.page("", 1000)
        return {used.key.rpartition("|")[0]: used.value for used in page if used.kind != "rate"}


@pytest.fixture
async def world(tmp_path):
    made = []

    def of(text):
        made.append(World(tmp_path, text))
        return made[-1]

    yield of
    for one in made:
        await one.check.close()


def model(name="1", size=100, **payload):
    return Call(
        id=name, route=Route.LLM_JSON, action=Action.MODEL, server="openai",
        name=payload.pop("model", "gpt-5"), method=payload.pop("method", "POST /v1/responses"),
        arguments={}, payload=payload, body=b"x" * size, stream=payload.pop("streams", False),
    )  # fmt: skip


def tool(name="1", target="orders.find", action=Action.TOOL):
    server, _, what = target.partition(".")
    return Call(
        id=name, route=Route.MCP_HTTP, action=action, server=server, name=what,
        method="tools/call", arguments={}, payload={}, body=b"{}",
    )  # fmt: skip


def answer(read=10, written=5, **more):
    usage = Usage(input_tokens=read, output_tokens=written, **more)
    return Result(payload=None, size=9, usage=usage, finish="stop")


async def test_all_that_a_call_can_take_is_reserved_and_what_it_took_is_settled(world):
    one = world("  a: {tokens: {input: 1000/day, output: 1000/day, total: 1000/day},"
                " cost: 1 USD/month}\n")  # fmt: skip
    asked = model(max_output_tokens=30, n=2)
    assert await one.go(asked) == ""
    day = {
        "a|input_tokens.day|agent=shop": 50,
        "a|output_tokens.day|agent=shop": 60,
        "a|tokens.day|agent=shop": 110,
    }
    # all of the input might go into the provider's cache, at twice the price
    assert await one.counts() == day | {"a|cost.month|agent=shop": 50 * 2 + 60 * 10}
    assert [quota.left for quota in one.check.quotas("1")] == [950, 940, 890, 1_000_000 - 700]
    await one.end(asked, answer(40, 7, cached_tokens=10, stored_tokens=20))
    assert list((await one.counts()).values()) == [10 + 1 + 40 + 70, 40, 7, 47]
    assert one.told.spent == [("shop", 121)]
    assert one.check.quotas("1") == ()


@pytest.mark.parametrize(
    ("result", "problem", "took"),
    [
        (answer(9, None), None, (9, 50)),
        (Result(payload={}, size=2), None, (50, 50)),
        (Result(payload={}, size=2, is_error=True), None, (0, 0)),
        (None, Deny(code="PC5001", reason="no connection to the upstream"), (0, 0)),
        (None, Deny(code="PC5001", reason="the upstream broke the connection"), (50, 50)),
        (None, Deny(code="PC5013", reason=""), (0, 0)),
        (None, Deny(code="PC5008", reason=""), (50, 50)),
        (answer(9, 4), Deny(code="PC3024", reason=""), (9, 4)),
        (
            Result(payload=None, size=2, usage=Usage(input_tokens=9, output_tokens=1), chunks=3),
            Deny(code="PC3024", reason=""),
            (9, 50),
        ),
        (Result(payload=None, size=2, is_error=True, chunks=3), None, (50, 50)),
    ],
    ids=[
        "half-said", "nothing-said", "providers-refusal", "not-reached", "perhaps-reached",
        "not-sent", "broken-off", "withheld", "stopped", "failed-in-mid-stream",
    ],
)  # fmt: skip
async def test_what_nobody_says_is_charged_as_estimated(world, result, problem, took):
    one = world("  a: {tokens: {input: 1000/day, output: 1000/day}}\n")
    asked = model()
    assert await one.go(asked) == ""
    await one.end(asked, result, problem)
    counts = await one.counts()
    assert tuple(counts[f"a|{name}_tokens.day|agent=shop"] for name in ("input", "output")) == took


async def test_a_call_that_never_goes_takes_nothing_whenever_that_is_said(world):
    one = world("  a: {tokens: {total: 1000/day}, requests: {rate: 1/hour, burst: 1}}\n")
    denied = Deny(code="PC6001", reason="")
    asked, who = model(), context("shop")
    assert await one.go(asked) == ""
    one.check.decided(asked, who, Allow())
    assert one.check.running == 1
    one.check.decided(asked, who, denied)
    await one.end(asked)
    assert set((await one.counts()).values()) == {0}
    again = model("2")
    assert await one.go(again) == "", "nor a request"
    one.check.finished(again, who, None, Deny(code="PC4001", reason=""))
    one.check.decided(again, who, Deny(code="PC4001", reason=""))
    await one.end(again)
    assert set((await one.counts()).values()) == {0}
    assert await one.go(model("3")) == ""
    assert await one.go(model("4")) == "PC3070"


async def test_each_refusal_says_which_limit_until_when_and_nothing_of_others(world):
    one = world(
        "  rate: {for: {model: gpt-*}, requests: {rate: 1/minute, burst: 1}}\n"
        "  tools: {for: {tool: orders.*}, concurrency: 1}\n"
        "  data: {for: {server: disk}, bytes: 10/day}\n"
    )
    assert await one.go(model()) == ""
    assert await one.go(model("2")) == "PC3070"
    said = one.problem
    assert said.detail == "limit rate: 1 requests in 60 seconds, again at 2027-01-15T08:01:00Z"
    assert (said.retry_after, said.over.limit, said.status) == (60, "rate", 429)
    assert said.document()["resets_at"] == "2027-01-15T08:01:00Z"
    assert await one.go(tool("3")) == ""
    assert await one.go(tool("4")) == "PC3072"
    assert (one.problem.retry_after, one.problem.detail) == (1, "limit tools: 1 calls at once")
    await one.end(tool("3"), Result(payload={}, size=5))
    reads = tool("5", "disk.read")
    assert await one.go(reads) == ""
    big = Result(payload={"content": []}, size=11)
    with pytest.raises(Problem, match="PC3077") as refused:
        await one.check.prepare_result(reads, context("shop"), big)
    assert refused.value.over.measure == "bytes"
    await one.check.prepare_result(reads, context("shop"), msgspec.structs.replace(big, size=10))
    await one.end(reads, big)
    assert await one.go(tool("6", "disk.read")) == "PC3071"
    assert one.problem.detail == "limit data: 10 bytes per day, again at 2027-01-16T00:00:00Z"
    assert one.refused == [
        ("rate", "requests"), ("tools", "concurrency"), ("data", "bytes"), ("data", "bytes"),
    ]  # fmt: skip


async def test_what_is_left_of_a_shared_limit_is_shown_to_nobody(world):
    one = world(
        "  own: {tokens: {output: 1000/day}}\n"
        "  role: {per: role, tokens: {output: 1000/day}}\n"
        "  all: {per: all, tokens: {output: [1000/day, 1000/session]}}\n"
    )
    for who in (context("shop"), context("shop", session_of("shop"))):
        call = model(who.source + str(who.session))
        assert await one.go(call, who) == ""
        told = {(one.name, one.window): one.left for one in one.check.quotas(call.id)}
    assert told[("own", 86400)] == 900
    assert told[("role", 86400)] is None
    assert told[("all", 86400)] is None
    assert told[("all", 1.0)] == 950, "a session is its agent's own"


async def test_who_acts_for_another_uses_both_of_their_limits(world):
    one = world("  a: {requests: {rate: 1/hour, burst: 2}}\n")
    who = context("aide")
    acting = msgspec.structs.replace(
        who, principal=msgspec.structs.replace(who.principal, chain=("shop",))
    )
    assert [await one.go(model(str(n)), acting) for n in range(3)] == ["", "", "PC3070"]
    assert await one.go(model("4"), context("shop")) == "PC3070"
    assert await one.go(model("5"), context("lone")) == ""


async def test_limits_are_for_those_whom_they_name(world):
    one = world(
        "  a: {for: {role: helper, model: gpt-5*}, requests: {rate: 1/hour, burst: 1}}\n"
        "  b: {for: {user: eve}, per: user, requests: {rate: 1/hour, burst: 1}}\n"
    )
    eve = [context(who, session_of(who, user="eve")) for who in ("shop", "aide")]
    assert [await one.go(model(str(n)), context("shop")) for n in range(3)] == [""] * 3
    assert await one.go(model("4"), context("aide")) == ""
    assert await one.go(model("5"), context("aide")) == "PC3070"
    assert await one.go(model("6", model="gpt-4"), context("aide")) == ""
    assert await one.go(tool("7"), context("aide")) == ""
    assert await one.go(tool("8"), eve[0]) == ""
    assert await one.go(tool("9"), eve[1]) == "PC3070", "one user, whoever acts for her"
    assert any("user=~3" in used.key for used in await one.counter.page("b", 5)), "nobody by name"
    looked = msgspec.structs.replace(tool("10"), looked_up_for="x")
    assert await one.go(looked, eve[1]) == "", "what the gate looks up costs nothing"
    listing = tool("11", action=Action.LIST)
    assert await one.go(listing, eve[1]) == ""


async def test_nobody_is_asked_about_what_could_not_go(world):
    one = world("  a: {requests: {rate: 1/hour, burst: 1}}\n")
    who = context("shop")
    for _ in range(3):
        await one.check.holding(model(), who, READ)
    assert await one.go(model()) == ""
    with pytest.raises(Problem, match="PC3070"):
        await one.check.holding(model("2"), who, READ)


async def test_without_a_price_a_limited_cost_is_a_denial(world):
    one = world("  a: {for: {agent: shop}, cost: 1 USD/day}\n")
    assert await one.go(model(model="gpt-odd")) == "PC3074"
    assert await one.go(model("2", model="gpt-odd"), context("lone")) == ""
    assert await one.go(model("3", max_tokens=200_000)) == "PC3078"
    assert await one.go(model("4", method="POST /v1/messages/count_tokens")) == ""
    assert await one.counts() == {"a|cost.day|agent=shop": 0}, "counting is free"


async def test_a_risky_agent_has_less_and_an_unknown_one_all(world):
    one = world(
        "  a: {requests: {rate: 100/hour, burst: 10}, concurrency: 4,"
        " risk: {elevated: 0.5, high: 0.1}}\n"
    )
    one.told.level_of["shop"] = RiskLevel.HIGH
    assert await one.go(model("0")) == ""
    assert await one.go(model("1")) in {"PC3070", "PC3072"}
    await one.end(model("0"), answer())
    one.told.level_of["shop"] = RiskLevel.CRITICAL
    assert await one.go(model("2")) == "PC3070", "at least as little"
    assert [await one.go(model(f"n{n}"), context("aide")) for n in range(4)] == [""] * 4
    one.told.level_of["lone"] = RiskLevel.ELEVATED
    said = [await one.go(model(f"l{n}"), context("lone")) for n in range(3)]
    assert said == ["", "", "PC3072"]


async def test_a_sessions_time_ends_its_calls_and_its_streams(world):
    one = world("  a: {session_seconds: 60}\n")
    session = msgspec.structs.replace(session_of("shop"), opened_at=one.clock.time)
    who = context("shop", session)
    assert await one.go(model(), who) == ""
    assert one.check.judge_chunk(model(), who) is PASS
    one.clock.time += 60
    denied = one.check.judge_chunk(model(), who)
    assert (denied.code, denied.over.limit) == ("PC3075", "a")
    assert await one.go(model("2"), who) == "PC3075"
    assert await one.go(model("3")) == "", "outside of any session"


async def test_a_stream_ends_where_its_reservation_does(world):
    one = world("  a: {tokens: {output: 1000/day}}\n  b: {for: {agent: lone}, requests: 9/hour}\n")
    asked, named = model("1"), model("2", max_tokens=10)
    assert await one.go(asked) == await one.go(named) == ""
    who = context("shop")
    assert one.check.judge_passing(asked, who, lambda: 200) is PASS
    assert one.check.judge_passing(asked, who, lambda: 1).code == "PC3076"
    assert one.check.judge_passing(named, who, lambda: 80) is PASS, "the provider keeps to it"
    assert one.check.judge_passing(named, who, lambda: 1).code == "PC3076"
    await one.end(asked, None, Deny(code="PC3076", reason=""))
    assert (await one.counts())["a|output_tokens.day|agent=shop"] == 51 + 10
    other = model("3")
    assert await one.go(other, context("aide")) == ""
    free = one.check.judge_passing(model("4"), who, lambda: pytest.fail("not asked for"))
    assert free is PASS


async def test_a_month_that_is_spent_in_hours_is_told_of(world):
    one = world("  a: {cost: 31 USD/month, burn: 5}\n")  # a dollar a day; five pence in an hour
    pace = 31_000_000 / (31 * 24)
    spent = 0
    for n in range(40):
        asked = model(str(n))
        assert await one.go(asked) == ""
        await one.end(asked, answer(0, 1000))
        spent += 10_000
        assert bool(one.told.burnt) == (spent > 5 * pace)
    assert set(one.told.burnt) == {("a", "shop")}
    told = len(one.told.burnt)
    one.clock.time += 2 * 3600
    asked = model("later")
    assert await one.go(asked) == ""
    await one.end(asked, answer(0, 1000))
    assert len(one.told.burnt) == told, "that was then"


async def test_counts_that_fail_deny(world, monkeypatch):
    one = world("  a: {requests: 9/hour, bytes: 100/day}\n")
    asked = tool()
    assert await one.go(asked) == ""

    async def fail(*_, **__):
        raise Problem("PC3073", "away")

    monkeypatch.setattr(one.counter, "reserve", fail)
    monkeypatch.setattr(one.counter, "peek", fail)
    assert await one.go(tool("2")) == "PC3073"
    for ask in (
        one.check.holding(tool("3"), context("shop"), READ),
        one.check.prepare_result(asked, context("shop"), Result(payload={}, size=1)),
    ):
        with pytest.raises(Problem, match="PC3073"):
            await ask


async def test_a_call_that_is_given_up_while_it_is_counted_takes_nothing(world):
    one = world("  a: {tokens: {output: 100/day}}\n")
    working = asyncio.create_task(one.go(model()))
    await asyncio.sleep(0)  # it waits until its mark is durable
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    await one.settled()
    assert one.check.running == 0
    assert await one.go(model("2", max_tokens=100)) == ""


async def test_places_are_kept_while_calls_run_and_not_for_ever(world):
    one = world("  a: {concurrency: 1}\n")
    assert await one.go(tool("1")) == ""
    for _ in range(4):
        one.clock.time += 20
        await one.check.renew()
    assert await one.go(tool("2")) == "PC3072"
    one.clock.time += 40  # nobody ever said what became of it
    await one.check.renew()
    one.clock.time += 40
    assert one.check.running == 0
    assert await one.go(tool("3")) == ""


async def test_a_new_policy_holds_from_the_next_call_on(world):
    one = world("  a: {requests: {rate: 1/hour, burst: 1}}\n")
    assert [await one.go(tool(n)) for n in "12"] == ["", "PC3070"]
    one.book.policy = policy_of(HEAD + "  b: {requests: {rate: 2/hour, burst: 2}}\n")
    assert [await one.go(tool(n)) for n in "345"] == ["", "", "PC3070"]
    one.book.policy = policy_of(HEAD.replace("limits:\n", ""))
    assert [await one.go(tool(n)) for n in "67"] == ["", ""]


async def test_who_spends_little_is_not_stopped_for_what_its_neighbours_spend(world):
    one = world("  a: {per: all, cost: 31 USD/month, burn: 5}\n")
    for n in range(30):
        asked = model(f"a{n}")
        assert await one.go(asked, context("lone")) == ""
        await one.end(asked, answer(0, 1000), who=context("lone"))
    assert set(one.told.burnt) == {("a", "lone")}
    asked = model("b")
    assert await one.go(asked) == ""
    await one.end(asked, answer(0, 1000))
    assert set(one.told.burnt) == {("a", "lone")}, "it spent a penny"


async def test_who_has_somebody_else_spend_for_it_is_who_burns(world):
    one = world("  a: {for: {agent: shop}, cost: 31 USD/month, burn: 5}\n")
    who = context("aide")
    acting = msgspec.structs.replace(
        who, principal=msgspec.structs.replace(who.principal, chain=("shop",))
    )
    for n in range(25):
        asked = model(str(n))
        assert await one.go(asked, acting) == ""
        await one.end(asked, answer(0, 1000), who=acting)
    assert set(one.told.burnt) == {("a", "shop")}


async def test_who_has_a_neighbour_spend_what_all_share_burns_with_it(world):
    one = world("  a: {per: all, cost: 31 USD/month, burn: 5}\n")
    who = context("aide")
    acting = msgspec.structs.replace(
        who, principal=msgspec.structs.replace(who.principal, chain=("shop",))
    )
    for n in range(12):  # half of it for itself, and half for the shop
        for asked, by in ((model(f"a{n}"), who), (model(f"b{n}"), acting)):
            assert await one.go(asked, by) == ""
            await one.end(asked, answer(0, 1000), who=by)
    assert set(one.told.burnt) == {("a", "aide"), ("a", "shop")}
    assert sum((await one.counts()).values()) == 84 * 10_000


async def test_a_dearer_service_costs_what_it_costs(world):
    one = world("  a: {cost: 1 USD/month}\n")

    async def cost(name, **payload):
        asked = model(name, **payload)
        assert await one.go(asked) == ""
        await one.end(asked, answer(100, 10))
        return one.told.spent[-1][1]

    assert await cost("1", service_tier="default", speed="standard") == 100 + 100
    assert await cost("2", service_tier="priority") == 500
    assert 1320 <= await cost("3", speed="fast", inference_geo="us") <= 1321
    assert await one.go(model("4", modalities=["text", "audio"])) == "PC3074", "what sound costs"
    dear = Price(steps=((0, 1000, 10_000, 100, 2000),), audio=(8000, 30_000))
    one.prices.price = lambda *_: dear
    assert await cost("5", audio={"voice": "x", "format": "mp3"}) == 800 + 300


async def test_what_a_provider_makes_up_is_no_more_than_can_be_counted(world):
    one = world("  a: {tokens: {total: 1000/day}, cost: 1 USD/month}\n")
    asked = model()
    assert await one.go(asked) == ""
    await one.end(asked, answer(2**53, 2**53, cached_tokens=2**62))
    assert set((await one.counts()).values()) == {2**53 - 1}
    assert await one.go(model("2")) == "PC3071"


async def test_a_failure_that_the_provider_charges_for_is_charged(world):
    one = world("  a: {tokens: {output: 1000/day}}\n")
    asked = model()
    assert await one.go(asked) == ""
    failed = msgspec.structs.replace(answer(9, 30), is_error=True, finish="failed")
    await one.end(asked, failed)
    assert (await one.counts())["a|output_tokens.day|agent=shop"] == 30


async def test_names_that_agents_choose_are_not_remembered(world):
    one = world("  a: {requests: 1000/hour}\n  b: {for: {model: gpt-*}, requests: 1000/hour}\n")
    for n in range(20):
        page = tool(f"r{n}", f"disk.file:///{n}" + "x" * 5000, action=Action.RESOURCE)
        assert await one.go(page) == ""
    assert await one.go(model("m", model="gpt-" + "x" * 5000)) == ""
    assert len(one.check._plans._plans) == 1
    assert len(one.check._plans._met) == 1
    assert len(str(one.check._plans._met)) < 5000


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (model(method="POST /v1/chat/completions", n=2), "max_completion_tokens"),
        (model(method="POST /v1/responses"), "max_output_tokens"),
        (model(method="POST /v1/responses", max_output_tokens=9), ""),
        (model(method="POST /v1/chat/completions", max_tokens=9), ""),
        (model(method="POST /v1/chat/completions", max_tokens=0), "max_completion_tokens"),
        (model(method="POST /v1/chat/completions", max_tokens=-1), "max_completion_tokens"),
        (model(method="POST /v1/embeddings"), ""),
        (tool(), ""),
    ],
    ids=["chat", "responses", "named", "named-in-chat", "nothing", "less", "embeddings", "tool"],
)
async def test_an_answer_that_is_not_streamed_cannot_become_longer_than_was_reserved(
    world, call, field
):
    one = world(
        "  a: {for: {agent: shop}, cost: 1 USD/month, rows: 5/day}\n"
        "  b: {requests: 9/hour, tokens: {input: 1000/day}}\n"
    )
    judged = one.check.judge(call, context("shop"), None)
    assert one.check.judge(call, context("lone"), None) is PASS, "nobody limits its answers"
    if not field:
        assert judged is PASS
        return
    vain = {"max_tokens": 50} if "max_tokens" in call.payload else {}
    assert judged.payload == call.payload | vain | {field: 50}
    capped = msgspec.structs.replace(call, payload=judged.payload)
    assert one.check.judge(capped, context("shop"), None) is PASS
    assert await one.go(capped) == ""
    assert one.check._running["1"].estimate.written == 50 * call.payload.get("n", 1)
