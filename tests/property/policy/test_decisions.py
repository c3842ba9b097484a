"""The compiled policy against two other readings of it: an oracle in Python, which knows only the
documentation, and regorus' interpreter, which evaluates the same Rego by other means."""

import json
from fnmatch import fnmatchcase

import msgspec
import pytest
import regorus
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from policies import asked_of, call, context, policy_of, session_of
from portcullis.core.call import Action
from portcullis.core.verdict import Allow
from portcullis.policy.engine import DECISION, VISIBLE, RegorusEngine
from portcullis.policy.pdp import RegoPdp

SERVERS = ("one", "two")
NAMES = ("a", "b", "c.d")
TOOLS = tuple(f"{server}.{name}" for server in SERVERS for name in NAMES)
PAIRS = tuple((verb, resource) for verb in ("read", "write") for resource in ("x", "y"))
VALUES = st.sampled_from(
    [None, True, False, 0, 1, 2, 2.5, -1, "", "1", "a", "C-1", "p/", "p/a", "p/../a", [], [1], {}]
)
BOUNDS = st.fixed_dictionaries(
    {},
    optional={
        "minimum": st.integers(-1, 2),
        "maximum": st.integers(2, 3),
        "enum": st.lists(st.sampled_from([1, "a", "p/a", True, 2.5]), min_size=1, unique_by=repr),
        "prefix": st.sampled_from(["p/", "a"]),
        "max_length": st.integers(0, 3),
        "required": st.just(value=True),
    },
)
ARGUMENT = BOUNDS.filter(bool) | st.sampled_from(
    [{"equals": "session.subject.s"}, {"equals": "session.user"}, {"equals": "a"}, {"equals": 1}]
)


@st.composite
def policies(draw):
    tools = {}
    for name in draw(st.sets(st.sampled_from(TOOLS), min_size=1)):
        tools[name] = {"arguments": draw(st.dictionaries(st.sampled_from("mn"), ARGUMENT))}
        if draw(st.booleans()):
            verb, resource = draw(st.sampled_from(PAIRS))
            tools[name] |= {"verb": verb, "resource": resource}
        if not tools[name]["arguments"]:
            del tools[name]["arguments"]
    denied = draw(st.sets(st.sampled_from([*TOOLS, "one.*"]), max_size=2))
    held = {(tool["verb"], tool["resource"]) for tool in tools.values() if "verb" in tool}
    live = {
        (tool["verb"], tool["resource"])
        for name, tool in tools.items()
        if "verb" in tool and not denied & {name, f"{name[:3]}.*"}
    }
    granted = draw(st.sets(st.sampled_from(sorted(live)), max_size=3)) if live else set()
    allowed = draw(st.sets(st.sampled_from(TOOLS), max_size=3))
    allowed = {name for name in allowed if not denied & {name, f"{name[:3]}.*"}}
    assert granted <= held
    role = {
        "permissions": [{verb: resource} for verb, resource in sorted(granted)],
        "allowed_tools": sorted(allowed),
        "denied_tools": sorted(denied),
        "models": draw(st.lists(st.sampled_from(["m-*", "*x", "exact"]), unique=True)),
        "provider_features": draw(st.lists(st.sampled_from(["openai.f", "openai.g"]), unique=True)),
    }
    return {"version": 1, "agents": {"agent": {"role": "r"}}, "roles": {"r": role}, "tools": tools}


SESSIONS = st.none() | st.builds(
    session_of,
    agent=st.sampled_from(["agent", "agent", "agent", "other"]),
    subject=st.dictionaries(st.sampled_from("st"), VALUES, max_size=2),
    user=st.sampled_from(["a", "ada"]),
    grant=st.none() | st.lists(st.sampled_from(TOOLS), max_size=4).map(tuple),
)
CALLS = st.builds(
    call,
    target=st.sampled_from(TOOLS),
    arguments=st.dictionaries(st.sampled_from("mn"), VALUES),
) | st.builds(
    call,
    action=st.just(Action.MODEL),
    target=st.sampled_from(["up.m-1", "up.ax", "up.exact", "up.other"]),
    features=st.lists(st.sampled_from(["openai.f", "openai.g", "openai.h"]), max_size=2).map(tuple),
)
AGENTS = st.sampled_from(["agent", "agent", "agent", "stranger"])


def same(left, right):
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def holds(kind, wanted, value, session):
    if kind == "equals":
        if wanted == "session.user":
            return session is not None and same(value, session.user)
        if wanted == "session.subject.s":
            return (
                session is not None and "s" in session.subject and same(value, session.subject["s"])
            )
        return same(value, wanted)
    if kind == "prefix":
        return isinstance(value, str) and value.startswith(wanted) and ".." not in value
    return {
        "required": lambda: value is not None,
        "enum": lambda: any(same(value, item) for item in wanted),
        "minimum": lambda: number(value) and value >= wanted,
        "maximum": lambda: number(value) and value <= wanted,
        "max_length": lambda: isinstance(value, str | list) and len(value) <= wanted,
    }[kind]()


def broken(bounds, arguments, session):
    for argument, kinds in bounds.items():
        for kind, wanted in kinds.items():
            present = argument in arguments
            if not present and kind not in {"equals", "required"}:
                continue
            if not present or not holds(kind, wanted, arguments[argument], session):
                yield str(wanted).startswith("session.")


def oracle(policy, asked, agent, session):  # noqa: PLR0911 - one line per rule, on purpose
    role = policy["roles"]["r"]
    if agent not in policy["agents"]:
        return "PC3009"
    if session is not None and session.agent != agent:
        return "PC2006"
    if asked.action is Action.MODEL:
        if not any(fnmatchcase(asked.name, glob) for glob in role["models"]):
            return "PC3005"
        return "PC3006" if set(asked.features) - set(role["provider_features"]) else "allow"
    name = f"{asked.server}.{asked.name}"
    if {name, f"{asked.server}.*"} & set(role["denied_tools"]):
        return "PC3002"
    tool = policy["tools"].get(name, {})
    if name not in role["allowed_tools"] and (
        "verb" not in tool or {tool["verb"]: tool["resource"]} not in role["permissions"]
    ):
        return "PC3001"
    if session is not None and session.grant is not None and name not in session.grant:
        return "PC3007"
    found = list(broken(tool.get("arguments", {}), asked.arguments, session))
    if not found:
        return "allow"
    if True in found:
        return "PC3004" if session is not None else "PC3008"
    return "PC3012"


class Interpreter:
    """regorus' tree-walking interpreter: the second opinion."""

    def compile(self, bundle):
        return b""

    def evaluate(self, policy, entry, asked):
        engine = regorus.Engine()
        for name, text in policy.bundle.modules:
            engine.add_policy(name, text)
        engine.add_data_json(policy.bundle.data)
        engine.set_input_json(asked.text)
        return engine.eval_rule_as_json(entry)


@pytest.mark.nightly
@settings(max_examples=examples(25), deadline=None)
@given(policies(), st.lists(st.tuples(CALLS, AGENTS, SESSIONS), min_size=4, max_size=12))
def test_the_policy_decides_as_documented_and_as_the_interpreter_does(policy, questions):
    compiled = policy_of(json.dumps(policy))
    pdp, second = RegoPdp(compiled, RegorusEngine()), RegoPdp(compiled, Interpreter())
    for asked, agent, session in questions:
        around = context(agent, session=session)
        verdict = pdp.decide(asked, around)
        found = "allow" if isinstance(verdict, Allow) else verdict.code
        assert found == oracle(policy, asked, agent, session)
        assert second.decide(asked, around) == verdict
        for server in SERVERS:
            shown = pdp.visible("tools", server, NAMES, around)
            assert second.visible("tools", server, NAMES, around) == shown
            if found == "allow" and asked.server == server:
                assert asked.name in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([DECISION, VISIBLE]), JSON)
def test_the_engine_survives_any_input(entry, question):
    answer = json.loads(RegorusEngine().evaluate(POLICY, entry, asked_of(question)))
    if entry == DECISION:
        assert answer["allow"] is False
    else:
        assert answer in ([], "<undefined>")


@settings(max_examples=200, deadline=None)
@given(st.text(), st.text(), st.dictionaries(st.text(), JSON, max_size=3))
def test_no_name_and_no_arguments_make_an_ungranted_call_pass(server, name, arguments):
    pdp = RegoPdp(POLICY, RegorusEngine())
    for action in Action:
        asked = call(action, "kb.x", arguments)
        asked = msgspec.structs.replace(asked, server=server, name=name)
        verdict = pdp.decide(asked, context("agent"))
        assert not isinstance(verdict, Allow)


POLICY = policy_of(
    "version: 1\nagents: {agent: {role: r}}\n"
    "roles: {r: {denied_tools: ['one.*']}}\ntools: {one.a: {verb: read, resource: x}}\n"
)
