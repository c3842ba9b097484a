"""If these fail, a breaker opens for the wrong one, stays open, or tries with an effect."""

import pytest
from sqlalchemy import text

from databases import new_database
from portcullis.checks.breaker import AgentBreaker, UpstreamBreaker
from portcullis.config import Breakers as Settings
from portcullis.core.breaker import Key, State
from portcullis.core.call import Action, Call, Context, Result, RiskClass, Route
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import PASS, Allow, Deny
from portcullis.oversight.breaking import Breakers
from portcullis.store.breakers import SqlBreakers

pytestmark = pytest.mark.anyio
DENIED = Deny(code="PC3001", reason="no")
GOOD = Result(payload={}, size=2, status=200)
FAULT = Result(payload={}, size=2, status=503, is_error=True)
ERROR = Result(payload={}, size=2, is_error=True)


class Clock:
    time = 1_800_000_000.0

    def now(self):
        return self.time


class World:
    """Breakers with everything around them; ``alarms`` and ``events`` are what was told."""

    def __init__(self, engine, **settings):
        self.clock = Clock()
        self.alarms, self.events = [], []
        self.book = SqlBreakers(engine, "t/gate")
        self.breakers = Breakers(
            self.book,
            Settings.model_validate(settings),
            alarm=self,
            record=lambda method, said: self.events.append((method, said)),
            clock=self.clock,
            gateway="t/gate",
        )
        self.checks = (AgentBreaker(self.breakers), UpstreamBreaker(self.breakers))
        self.number = 0

    def raised(self, kind, subject, reason):
        self.alarms.append((kind, subject, reason))

    def call(self, **changes):
        self.number += 1
        fields = {
            "id": f"c{self.number}",
            "route": Route.MCP_HTTP,
            "action": Action.TOOL,
            "server": "orders",
            "name": "search",
            "method": "tools/call",
            "arguments": {},
            "payload": {},
            "body": b"",
        }
        return Call(**(fields | changes))

    async def ask(self, agent="a", *, end=GOOD, problem=None, risk=RiskClass.READ, **changes):
        """One call through both checks to its end; the code that it is refused with, or ''."""
        call, who = self.call(**changes), context(agent)
        for check in self.checks:
            verdict = check.judge(call, who, None)
            if verdict is not PASS:
                self.breakers.decided(call, who, verdict)
                return verdict.code
        try:
            for check in self.checks:
                await check.going(call, who, risk)
        except Problem as found:
            self.breakers.decided(call, who, Deny(code=found.code, reason=found.detail))
            return found.code
        self.breakers.decided(call, who, Allow(rule="r"))
        self.breakers.finished(call, who, end, problem)
        await self.breakers.settled()
        return ""

    async def deny(self, agent="a", times=1, denied=DENIED, **changes):
        for _ in range(times):
            self.breakers.decided(self.call(**changes), context(agent), denied)
        await self.breakers.settled()

    @property
    def methods(self):
        return [method for method, _ in self.events]


def context(agent="a", chain=()):
    principal = Principal(
        kind=PrincipalKind.AGENT, id=agent, credential="t", expires_at=2e9, chain=chain
    )
    return Context(principal=principal, session=None, source="test", trace_id="", received_at=0.0)


@pytest.fixture
def engine(tmp_path):
    made = new_database(tmp_path / "db" / "portcullis.db")
    yield made
    made.dispose()


@pytest.fixture
def world(engine):
    return World(
        engine,
        agent={"denials": 3, "calls": 4, "cost": 1, "open_seconds": 10, "longest_seconds": 30},
        upstream={"calls": 4, "open_seconds": 5},
    )


async def test_an_agent_is_stopped_tried_with_a_read_and_let_go_on(world):
    await world.deny(times=3)
    assert world.alarms == [("breaker.open", "agent:a", "3 calls denied within 60 s")]
    assert await world.ask() == "PC5023"
    assert await world.ask(agent="b") == ""
    refused = world.checks[0].judge(world.call(), context(), None)
    assert refused.retry_after == 10
    assert refused.reason.endswith("(3 calls denied within 60 s); one call tries in 10 s")
    world.clock.time += 10
    assert await world.ask(risk=RiskClass.MODIFY) == "PC5023", "an effect is no probe"
    assert await world.ask() == ""
    assert await world.ask(risk=RiskClass.MODIFY) == ""
    assert world.methods == ["breaker.open", "breaker.half_open", "breaker.close"]
    await world.deny(times=2)
    assert await world.ask() == "", "what was counted before is forgotten"


async def test_whoever_acts_for_a_stopped_agent_is_stopped(world):
    await world.deny(times=3)
    who = context("b", chain=("a",))
    assert world.checks[0].judge(world.call(), who, None).code == "PC5023"


async def test_what_is_denied_when_it_may_try_was_the_try_and_it_stays_shut_for_longer(world):
    await world.deny(times=3)
    for seconds in (10, 20, 30, 30):
        world.clock.time += seconds - 0.01
        assert await world.ask() == "PC5023"
        world.clock.time += 0.01
        await world.deny()
        assert await world.ask() == "PC5023"
    assert world.methods[-1] == "breaker.open"
    assert world.events[-1][1]["times"] == 5
    assert len(world.alarms) == 1, "it opened once"


async def test_who_reads_in_between_is_stopped_for_longer_each_time_unless_it_keeps_still(world):
    for seconds in (10, 20, 30, 30):
        await world.deny(times=3)
        assert world.events[-1][1]["seconds"] == seconds
        world.clock.time += seconds
        assert await world.ask() == ""
    world.clock.time += 31
    await world.deny(times=3)
    assert world.events[-1][1]["seconds"] == 10
    world.clock.time += 10
    assert await world.ask() == ""
    await world.deny(times=3)
    await world.book.close(Key(scope="agent", subject="a"))
    await world.deny(times=3)
    assert world.events[-1][1]["seconds"] == 10, "an operator has looked at it"


async def test_one_call_tries_and_others_wait_for_its_end(world):
    await world.deny(times=3)
    world.clock.time += 10
    probe, other = world.call(), world.call()
    await world.checks[0].going(probe, context(), RiskClass.READ)
    with pytest.raises(Problem) as raised:
        await world.checks[0].going(other, context(), RiskClass.READ)
    assert (raised.value.code, raised.value.retry_after) == ("PC5023", 30)
    world.breakers.finished(probe, context(), ERROR, None)
    await world.breakers.settled()
    assert world.book.get(Key(scope="agent", subject="a")).times == 2


@pytest.mark.parametrize("way", ["denied", "cut", "never"])
async def test_a_try_that_tells_nothing_makes_room_for_the_next(world, way):
    await world.deny(times=3)
    world.clock.time += 10
    probe = world.call()
    await world.checks[0].going(probe, context(), RiskClass.READ)
    if way == "denied":  # by a check that comes later
        world.breakers.decided(probe, context(), Deny(code="PC3061", reason="used up"))
    elif way == "cut":
        world.breakers.finished(probe, context(), None, Deny(code="PC5014", reason="left"))
    else:
        world.clock.time += 30
    await world.breakers.settled()
    assert await world.ask() == ""


@pytest.mark.parametrize(
    ("denied", "changes"),
    [
        (Deny(code="PC3040", reason="waits"), {}),
        (Deny(code="PC5022", reason="open"), {}),
        (Deny(code="PC6001", reason="full"), {}),
        (DENIED, {"looked_up_for": "c0"}),
    ],
    ids=["waits", "breaker", "log", "the gate's own"],
)
async def test_what_is_not_its_doing_does_not_stop_an_agent(world, denied, changes):
    await world.deny(times=20, denied=denied, **changes)
    assert await world.ask() == ""


async def test_an_agent_whose_calls_go_wrong_or_cost_too_much_is_stopped(world):
    for _ in range(4):
        assert await world.ask(end=ERROR) == ""
    assert await world.ask() == "PC5023"
    world.breakers.spent("b", 999_999, world.clock.time)
    await world.breakers.settled()
    assert await world.ask(agent="b") == ""
    world.breakers.spent("b", 1, world.clock.time)
    await world.breakers.settled()
    assert await world.ask(agent="b") == "PC5023"
    world.breakers.trip("c", "its budget burns")
    await world.breakers.settled()
    assert await world.ask(agent="c") == "PC5023"
    assert [subject for _, subject, _ in world.alarms] == ["agent:a", "agent:b", "agent:c"]


async def test_a_failing_upstream_is_refused_tried_and_comes_back(world):
    for agent in "abab":
        assert await world.ask(agent, end=FAULT) == ""
    for agent in "abc":
        assert await world.ask(agent) == "PC5022"
    assert await world.ask("c", server="other") == ""
    world.clock.time += 5
    assert await world.ask("c", risk=RiskClass.DELETE) == "PC5022"
    assert await world.ask("c", end=FAULT) == ""
    world.clock.time += 5
    assert await world.ask("c") == "PC5022", "twice as long"
    world.clock.time += 5
    assert await world.ask("c") == ""
    assert [await world.ask(agent, end=FAULT) for agent in "ab"] == ["", ""]


async def test_an_agent_cannot_take_an_upstream_from_its_neighbours(world):
    """Its own bad requests count for nothing; failures that it alone sees, against it alone."""
    for _ in range(50):
        bad = Result(payload={}, size=2, status=400, is_error=True)
        await world.ask("evil", end=bad)
        await world.deny("evil", denied=DENIED)
    assert not await world.book.all() or all(
        one.key.scope == "agent" for one in await world.book.all()
    )
    for _ in range(50):
        await world.ask("worse", end=None, problem=Deny(code="PC5002", reason="too slow"))
    assert await world.ask("worse") == "PC5022"
    assert await world.ask("good") == ""
    names = [one.key.name for one in await world.book.all()]
    assert names == ["agent:evil", "upstream:orders/worse"]
    others = world.checks[1].judge(world.call(), context("good"), None)
    assert others is PASS


async def test_what_others_saw_is_not_told(world):
    for agent in "abab":
        await world.ask(agent, end=FAULT)
    refused = world.checks[1].judge(world.call(), context("c"), None)
    assert refused.reason == "the breaker of orders is open; one call tries in 5 s"


async def test_nobody_is_asked_about_an_effect_while_it_is_open(world):
    for agent in "abab":
        await world.ask(agent, end=FAULT)
    world.clock.time += 5
    check = world.checks[1]
    await check.holding(world.call(), context("c"), RiskClass.READ)
    with pytest.raises(Problem) as raised:
        await check.holding(world.call(), context("c"), RiskClass.EXTERNAL)
    assert raised.value.code == "PC5022"


async def test_a_session_may_always_end_and_the_agents_own_program_has_no_upstream(world):
    for agent in "abab":
        await world.ask(agent, end=FAULT)
    await world.deny("a", times=3)
    assert await world.ask("a", action=Action.PROTOCOL, name="end") == ""
    assert await world.ask("b", route=Route.GUARD) == ""


async def test_a_model_call_may_try_whatever_its_risk(world):
    model = {"route": Route.LLM_JSON, "action": Action.MODEL, "server": "openai"}
    for agent in "abab":
        await world.ask(agent, end=FAULT, risk=RiskClass.EXTERNAL, **model)
    assert await world.ask("a", risk=RiskClass.EXTERNAL, **model) == "PC5022"
    world.clock.time += 5
    assert await world.ask("a", risk=RiskClass.EXTERNAL, **model) == ""


async def test_an_operators_reset_forgets_what_was_counted(world):
    for agent in "abab":
        await world.ask(agent, end=FAULT)
    key = Key(scope="upstream", subject="orders", gateway="t/gate")
    assert await world.book.close(key)
    assert [await world.ask(agent, end=FAULT) for agent in "aba"] == ["", "", ""]
    assert await world.ask("c") == ""


async def test_a_breaker_opens_here_when_it_cannot_be_written_down(world, engine):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE breakers"))
    await world.deny(times=3)
    assert await world.ask() == "PC5023"
    assert world.alarms[0][1] == "agent:a"


async def test_however_often_it_opens_it_is_tried_again_in_the_end(world):
    key = Key(scope="agent", subject="a")
    await world.deny(times=3)
    for _ in range(40):
        world.clock.time += 30
        await world.deny()
    found = world.book.get(key)
    assert (found.state, found.times, found.until - found.since) == (State.OPEN, 41, 30)


async def test_who_is_switched_off_is_never_stopped(engine):
    world = World(engine, agent={"enabled": False}, upstream={"enabled": False})
    await world.deny(times=500)
    for agent in "ab" * 50:
        assert await world.ask(agent, end=FAULT) == ""
    world.breakers.spent("a", 10**15, world.clock.time)
    await world.breakers.settled()
    assert await world.ask() == ""
