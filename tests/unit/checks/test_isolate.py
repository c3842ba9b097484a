"""If these fail, quarantine lets something through, or keeps back what policy lists."""

import msgspec
import pytest

from portcullis.checks.isolate import Isolate
from portcullis.core.call import Action, Call, Context, Result, RiskClass, Route
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.quarantine import QUARANTINE, Quarantine
from portcullis.core.verdict import PASS, Allow, Deny, Hold

pytestmark = pytest.mark.anyio
LISTED = Quarantine(reads=frozenset({"orders.search"}), models=("gpt-*",))


class World:
    """The feed and the policy of one check."""

    def __init__(self, rules=LISTED, reason="odd"):
        self.rules, self.reason = rules, reason
        self.check = Isolate(self, self)

    def isolated(self, principal, session):
        return self.reason

    def quarantine(self):
        return self.rules

    def judge(self, call):
        return self.check.judge(call, CONTEXT, None)

    def back(self, call, payload=None):
        return self.check.judge_result(call, CONTEXT, Result(payload=payload, size=2), None)

    async def goes(self, call, risk):
        try:
            await self.check.holding(call, CONTEXT, risk)
            await self.check.going(call, CONTEXT, risk)
        except Problem as problem:
            return problem.code
        return ""


CONTEXT = Context(
    principal=Principal(kind=PrincipalKind.AGENT, id="a", credential="t", expires_at=2e9),
    session=None,
    source="test",
    trace_id="",
    received_at=0.0,
)


def call(action=Action.TOOL, name="search", **changes):
    fields = {
        "id": "c1",
        "route": Route.MCP_HTTP,
        "server": "orders",
        "method": "tools/call",
        "arguments": {},
        "payload": {},
        "body": b"",
    }
    return Call(action=action, name=name, **(fields | changes))


OTHERS = [
    call(name="write"),
    call(server="mail"),
    call(Action.MODEL, "claude-x"),
    call(Action.MODEL, "gpt-search", features=("openai.beta.x", "openai.web_search")),
    call(Action.RESOURCE, "file:///x"),
    call(Action.PROMPT, "search"),
    call(Action.COMPLETE, "search"),
    call(Action.SERVER_REQUEST, "sampling/createMessage"),
]
FREE = [
    call(),
    call(Action.MODEL, "gpt-9"),
    call(Action.MODEL, "gpt-beta", features=("openai.beta.x",)),
    call(Action.PROTOCOL, "ping"),
    call(Action.LIST),
]


@pytest.mark.parametrize("one", OTHERS, ids=lambda one: f"{one.action}:{one.server}:{one.name}")
async def test_what_is_not_listed_is_refused_in_every_phase_unless_nobody_is_isolated(one):
    world = World()
    assert [world.judge(one).code, world.back(one).code] == ["PC4010"] * 2
    assert world.check.judge_chunk(one, CONTEXT).code == "PC4010"
    assert "odd" not in world.judge(one).reason
    world.reason = None
    assert (world.judge(one), world.back(one)) == (PASS, PASS)
    assert world.check.judge_chunk(one, CONTEXT) is PASS
    assert await world.goes(one, RiskClass.DELETE) == ""


@pytest.mark.parametrize("one", FREE, ids=lambda one: f"{one.action}:{one.name}")
async def test_what_is_listed_goes_on_in_every_phase(one):
    world = World()
    assert (world.judge(one), world.back(one)) == (PASS, PASS)
    assert world.check.judge_chunk(one, CONTEXT) is PASS
    assert await world.goes(one, RiskClass.READ) == ""


@pytest.mark.parametrize(
    "method",
    ["notifications/message", "notifications/progress", "notifications/resources/updated"],
)
def test_what_a_server_says_beside_its_answers_goes_on_with_a_call_that_is_listed(method):
    world = World()
    told = call(Action.PROTOCOL, method, method=method)
    assert world.back(told).code == "PC4010", "it may be of any call"
    for within, passes in (((call(),), True), ((call(), call(name="write")), False)):
        seen = world.back(msgspec.structs.replace(told, within=within))
        assert (seen is PASS) is passes
    assert world.back(call(Action.PROTOCOL, "x", method="notifications/cancelled")) is PASS


@pytest.mark.parametrize("risk", [RiskClass.MODIFY, RiskClass.EXTERNAL, RiskClass.DELETE])
async def test_a_listed_tool_that_turns_out_to_do_more_than_read_does_not_go(risk):
    assert await World().goes(call(), risk) == "PC4010"


def test_by_default_nothing_goes_on_but_listing():
    world = World(Quarantine())
    found = {one.action for one in FREE if world.judge(one) is PASS}
    assert found == {Action.PROTOCOL, Action.LIST}


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("tools", "tools"),
        ("prompts", "prompts"),
        ("resources", "resources"),
        ("resource_templates", "resourceTemplates"),
    ],
)
def test_of_a_list_only_what_may_be_called_is_shown(name, member):
    world, entries = World(), [{"name": "search"}, {"name": "write"}, "?", {}]
    seen = world.back(call(Action.LIST, name), {member: entries, "nextCursor": "x"})
    kept = [{"name": "search"}] if name == "tools" else []
    assert seen.payload == {member: kept, "nextCursor": "x"}
    assert world.back(call(Action.LIST, name), {member: kept}) is PASS


def test_where_policy_asks_a_human_is_asked_about_each_call_but_not_about_a_servers():
    world = World(msgspec.structs.replace(LISTED, otherwise="hold"))
    held = world.judge(call(name="write"))
    assert isinstance(held, Hold)
    assert held.questions == (f"{QUARANTINE}: odd",)
    assert "odd" not in held.reason, "the agent hears it"
    assert world.judge(call(Action.SERVER_REQUEST, "sampling/createMessage")).code == "PC4010"


async def test_what_a_human_let_through_runs_and_is_answered_and_is_forgotten_then():
    world, one = World(msgspec.structs.replace(LISTED, otherwise="hold")), call(name="write")
    assert world.back(one).code == "PC4010", "it began before the quarantine"
    world.reason = None
    await world.check.approved(one, CONTEXT, "a0")
    world.reason = "odd"
    assert world.back(one).code == "PC4010", "whoever approved it knew of none"
    await world.check.approved(one, CONTEXT, "a1")
    assert await world.goes(one, RiskClass.MODIFY) == ""
    assert (world.back(one), world.check.judge_chunk(one, CONTEXT)) == (PASS, PASS)
    world.rules = LISTED
    assert world.back(one).code == "PC4010", "policy does not ask any more"
    for end in (
        lambda: world.check.finished(one, CONTEXT, None, None),
        lambda: world.check.decided(one, CONTEXT, Deny(code="PC3061", reason="x")),
    ):
        world.rules = msgspec.structs.replace(LISTED, otherwise="hold")
        await world.check.approved(one, CONTEXT, "a1")
        world.check.decided(one, CONTEXT, Allow(rule="r"))
        assert world.back(one) is PASS
        end()
        assert world.back(one).code == "PC4010"
