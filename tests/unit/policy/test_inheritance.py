"""Roles that inherit, and grants on several terms."""

import pytest

from policies import call, context, policy_of
from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, Channel, Treatment
from portcullis.core.verdict import Allow
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp

POLICY = """\
version: 1
agents: {a: {role: child}, b: {role: base}}
roles:
  base:
    permissions: [{read: orders}]
    denied_tools: [{tool: orders.drop, reason: never}]
    allowed_prompts: [kb.hello]
    environments: [production, staging]
    inspection: {to_model: {secret: block}}
    obligations: {approvers: 1}
  middle:
    inherits: [base]
    allowed_tools: [kb.a, {tool: kb.b, environments: [staging]}]
  child:
    inherits: [middle]
    environments: [production]
    allowed_tools: [{tool: kb.b, obligations: {log: [x]}}, {tool: kb.a, obligations: {log: [y]}}]
    inspection: {to_model: {financial: mask}}
tools:
  orders.get: {resource: orders, verb: read, risk: read}
  orders.drop: {risk: delete}
"""


TWO_PARENTS = """\
  a: {inspection: {canaries: true}}
  b: {inspection: {canaries: false}}
  c: {inherits: [a, b]}
"""


def decided(target, agent="a", environment="production", action="tool", text=POLICY):
    pdp = RegoPdp(policy_of(text), RegorusEngine(), environment=environment)
    return pdp.decide(call(action, target=target), context(agent))


def test_a_role_has_what_its_parents_have_and_cannot_undo_their_denials():
    found = decided("orders.get")
    assert isinstance(found, Allow)
    assert found.rule == "roles.base.permissions[0] read:orders @ policy/main.yaml:5"
    denied = decided("orders.drop")
    assert (denied.code, denied.rule.split()[0]) == ("PC3002", "roles.base.denied_tools[0]")
    assert isinstance(decided("kb.hello", action="prompt"), Allow)


def test_environments_of_a_role_bound_all_that_it_has():
    assert isinstance(decided("orders.get", "b", "staging"), Allow)
    refused = decided("orders.get", "a", "staging")
    assert (refused.code, refused.rule.split()[0]) == ("PC3001", "roles.child.environments")
    assert decided("orders.get", "b", "dev").rule.startswith("roles.base.environments ")
    assert decided("kb.hello", "b", "dev", "prompt").code == "PC3001"


def test_any_grant_that_holds_is_enough_and_all_that_hold_oblige():
    both = decided("kb.b")
    assert isinstance(both, Allow)
    assert both.obligations.log == ("x",)
    assert both.obligations.approvers == 1  # the parent role's
    assert decided("kb.a").obligations.log == ("y",)


def test_inspection_is_inherited_key_by_key():
    profile = RegoPdp(policy_of(POLICY), RegorusEngine()).profile(context("a"))
    assert profile.treatments[Channel.TO_MODEL][Category.SECRET] is Treatment.BLOCK
    assert profile.treatments[Channel.TO_MODEL][Category.FINANCIAL] is Treatment.MASK


@pytest.mark.parametrize(
    ("roles", "line", "says"),
    [
        ("  a: {inherits: [b]}\n  b: {}\n", 3, "b does not stand above"),
        ("  a: {inherits: [a]}\n", 3, "a does not stand above"),
        ("  a: {inherits: [x]}\n", 3, "unknown role x"),
        (
            "  a: {denied_tools: [kb.x]}\n  b: {inherits: [a], allowed_tools: [kb.x]}\n",
            4,
            "denied by a role that b inherits",
        ),
        ("  a: {allowed_tools: [kb.x, {tool: kb.x, environments: [x]}]}\n", 3, "listed twice"),
        ("  a: {allowed_tools: [{tool: kb.x, reason: y}, kb.x]}\n", 3, "listed twice"),
        (
            "  a: {models: [{model: m, environments: [x]}, {environments: [x], model: m}]}\n",
            3,
            "listed twice",
        ),
        (
            "  a: {models: [m]}\n  b: {inherits: [a], models: [{model: m, environments: [x]}]}\n",
            4,
            "m is granted always by the role a",
        ),
        (
            "  a: {environments: [x], allowed_tools: [{tool: kb.x, environments: [y]}]}\n",
            3,
            "a holds in none of these",
        ),
        (
            TWO_PARENTS,
            5,
            "inherits inspection from a and b",
        ),
        ("  a: {denied_tools: [{tool: kb.x, when: environment == 'x'}]}\n", 3, "holds always"),
        ("  a: {models: [{model: m, when: arguments.x == 1}]}\n", 3, "only tools have arguments"),
        (
            "  a: {models: [{model: m, obligations: {approvers: 1}}]}\n",
            3,
            "unknown key obligations",
        ),
    ],
)
def test_what_can_never_apply_is_refused_where_it_stands(roles, line, says):
    with pytest.raises(Problem) as caught:
        policy_of(f"version: 1\nroles:\n{roles}")
    assert f"policy/main.yaml:{line}:" in caught.value.detail
    assert says in caught.value.detail


def test_what_every_list_grants_on_terms_is_granted_where_they_hold():
    text = """\
version: 1
agents: {a: {role: r}}
roles:
  r:
    models: [{model: gpt-*, environments: [x]}]
    provider_features: [{feature: openai.web_search, environments: [x]}]
    allowed_resources:
      - {resource: "kb.memo://one", environments: [x]}
      - {resource: "kb.file:///*", environments: [x]}
    allowed_prompts: [{prompt: kb.hello, environments: [x]}]
    server_requests: [{request: kb.roots/list, environments: [x]}]
    egress: [{host: api.example, environments: [x]}, {host: "*.example"}]
"""
    asked = [
        ("model", "up.gpt-1", {}),
        ("resource", "kb.memo://one", {}),
        ("resource", "kb.file:///a", {}),
        ("prompt", "kb.hello", {}),
        ("complete", "kb.hello", {}),
        ("server_request", "kb.roots/list", {}),
        ("list", "kb.tools", {}),
        ("egress", ".api.example", {"host": "api.example", "port": 443, "way": "connect"}),
    ]
    policy, around = policy_of(text), context("a")
    for environment, outcome in (("x", True), ("y", False)):
        pdp = RegoPdp(policy, RegorusEngine(), environment=environment)
        for action, target, arguments in asked:
            verdict = pdp.decide(call(action, target=target, arguments=arguments), around)
            assert isinstance(verdict, Allow) is outcome, (environment, action, target, verdict)
        features = pdp.decide(call("model", "up.gpt-1", features=("openai.web_search",)), around)
        assert isinstance(features, Allow) is outcome
        shown = pdp.visible("resources", "kb", ["memo://one", "file:///a"], around)
        assert bool(shown) is outcome
        assert bool(pdp.visible("prompts", "kb", ["hello"], around)) is outcome
