from xml.etree import ElementTree as ET

import pytest

from policies import SUPPORT
from portcullis.catalogue.schema import fault
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.obligation import ColumnMask, MaskTreatment, Obligations, RowScope
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp, compile_files
from portcullis.policy.source import SourceFile
from portcullis.policy.testing.cases import parse_cases
from portcullis.policy.testing.coverage import coverage
from portcullis.policy.testing.junit import junit
from portcullis.policy.testing.model import Ruled
from portcullis.policy.testing.moments import moment
from portcullis.policy.testing.mutants import mutants
from portcullis.policy.testing.mutate import Trial
from portcullis.policy.testing.rules import run_rules
from portcullis.policy.testing.run import run

POLICY = (SourceFile("policy/main.yaml", SUPPORT),)
HEAD = (
    "version: 1\n"
    "defaults: {agent: support-1, session: {user: ada, subject: {customer_id: C-1}}}\n"
    "cases:\n"
)


def outcomes(*lines):
    cases = parse_cases(
        (SourceFile("tests/a.yaml", HEAD + "".join(f"  - {{{n}}}\n" for n in lines)),)
    )
    policy = compile_files(POLICY, fault, RegorusEngine())
    return cases, tuple(run(cases, policy, RegorusEngine(), now=0.0))


def wrong(line):
    (found,) = outcomes(f"case: a, {line}")[1]
    return found.wrong


def test_a_case_passes_when_the_answer_is_as_expected():
    _, found = outcomes(
        "case: a, tool: orders.search, arguments: {customer_id: C-1}, expect: {verdict: allow, "
        'rule: "roles.support.permissions[0]", risk: read}',
        "case: b, tool: orders.search, arguments: {customer_id: C-2}, expect: {code: PC3004, "
        "rule: tools.orders.search.arguments.customer_id}",
        "case: c, list: kb.tools, names: [search, other], expect: {visible: [search]}",
        'case: d, model: gpt-5, features: ["openai.web_search"], expect: allow',
        "case: e, tool: kb.search, expect: {obligations: {}}",
    )
    assert [one.wrong for one in found] == [()] * 5
    assert found[2].visible == ("search",)


def test_a_case_fails_with_what_was_expected_and_what_it_got():
    assert wrong("tool: crm.delete, expect: allow") == ("expected allow, got deny PC3002",)
    assert wrong("tool: kb.search, expect: deny") == ("expected deny, got allow",)
    assert wrong("tool: crm.delete, expect: PC3001") == ("expected PC3001, got PC3002",)
    assert wrong("tool: kb.search, expect: {risk: read}") == ("expected the risk read, got delete",)
    (said,) = wrong("tool: kb.search, expect: {rule: roles.support.allowed}")
    assert said.startswith("expected the rule roles.support.allowed, got roles.support.allowed_t")
    assert wrong("list: kb.tools, names: [search, x], expect: {visible: [x]}") == (
        "expected x to be visible",
        "expected search to be hidden",
    )
    assert wrong("tool: kb.search, expect: {obligations: {approvers: 1}}") == (
        "expected the obligation approvers 1, got 0",
    )


def test_obligations_are_compared_as_policy_writes_them(monkeypatch):
    mask = ColumnMask(path=("a", "*", "b"), treatment=MaskTreatment.HASH)
    rows = (RowScope(name="of", paths=(("a",),), values=("x", "y")),)
    obliged = Allow(obligations=Obligations(mask=(mask,), log=("to",), approvers=2, rows=rows))
    monkeypatch.setattr(RegoPdp, "decide", lambda *_: obliged)
    said = "obligations: {mask: {'a.*.b': hash}, log: [to], approvers: 2, rows: {of: [y, x]}}"
    assert wrong(f"tool: a.b, expect: {{{said}}}") == ()
    assert wrong("tool: a.b, expect: {obligations: {}}") == (
        'expected the obligation mask {}, got {"a.*.b":"hash"}',
        'expected the obligation log [], got ["to"]',
        "expected the obligation approvers 0, got 2",
        'expected the obligation rows {}, got {"of":["x","y"]}',
    )


def test_limits_are_those_of_the_agents_role():
    text = SUPPORT.replace(
        "  support:\n", "  support:\n    resource_limits: {calls: 5, seconds: 9}\n"
    )
    policy = compile_files((SourceFile("p/m.yaml", text),), fault, RegorusEngine())
    lines = (
        "{case: a, tool: kb.search, expect: {limits: {calls: 5, seconds: 9}}}",
        "{case: b, tool: kb.search, expect: {limits: {calls: 5}}}",
        "{case: c, agent: idle-1, tool: kb.search, expect: {limits: {}}}",
    )
    cases = parse_cases((SourceFile("t.yaml", HEAD + "".join(f"  - {one}\n" for one in lines)),))
    assert [one.wrong for one in run(cases, policy, RegorusEngine(), now=0.0)] == [
        (),
        ('expected the limits {"calls":5}, got {"calls":5,"seconds":9}',),
        (),
    ]


def test_a_case_is_asked_at_its_time_in_its_environment():
    text = (
        "version: 1\n"
        "windows: {day: {days: [mon], from: '08:00', to: '18:00', zone: Europe/Berlin}}\n"
        "agents: {bot: {role: r, expires: '2027-01-01'}}\n"
        "roles:\n"
        "  r:\n"
        "    environments: [staging]\n"
        "    allowed_tools: [{tool: kb.search, during: day}]\n"
        "    egress: [{host: api.example}]\n"
    )
    monday, sunday = "2026-11-23T09:30:00+01:00", "2026-11-22T09:30:00+01:00"
    asked = "{case: %s, agent: bot, tool: kb.search, environment: %s, at: '%s', expect: %s}"
    egress = f"egress: 'api.example:443', at: '{monday}', environment: staging"
    lines = [
        f"{{case: f, agent: bot, {egress}, expect: allow}}",
        asked % ("a", "staging", monday, "allow"),
        asked % ("b", "staging", sunday, "{code: PC3001, rule: 'roles.r.allowed_tools[0].during'}"),
        asked % ("c", "production", monday, "{code: PC3001, rule: roles.r.environments}"),
        asked
        % ("d", "staging", "2027-01-04T09:30:00Z", "{code: PC3009, rule: agents.bot.expires}"),
        "{case: e, agent: bot, tool: kb.search, environment: staging, expect: allow}",
    ]
    files = (SourceFile("policy/main.yaml", text),)
    policy = compile_files(files, fault, RegorusEngine())
    listed = "".join(f"  - {line}\n" for line in lines)
    cases = parse_cases((SourceFile("t.yaml", f"version: 1\ncases:\n{listed}"),))
    found = tuple(run(cases, policy, RegorusEngine(), now=moment(monday)))
    assert [one.wrong for one in found] == [()] * 6
    assert coverage(files, cases, found).percent == 100.0


REGO = """package portcullis.custom.nights

import rego.v1

deny contains {"reason": "not to strangers"} if input.arguments.to == "eve"

deny contains {"reason": "not so much", "code": "PC3012"} if {
\tinput.arguments.amount > 5
}
"""


def test_hand_written_denials_are_covered_and_dropped_one_by_one():
    files = (
        SourceFile(
            "policy/main.yaml",
            "version: 1\nagents: {bot: {role: r}}\nroles: {r: {allowed_tools: [bank.pay]}}\n",
        ),
        SourceFile("policy/nights.rego", REGO),
    )
    text = (
        "version: 1\n"
        "defaults: {agent: bot}\n"
        "cases:\n"
        "  - {case: a, tool: bank.pay, arguments: {to: ada, amount: 5}, expect: allow}\n"
        "  - {case: b, tool: bank.pay, arguments: {to: eve}, expect: {rule: custom.nights.deny}}\n"
    )
    cases = parse_cases((SourceFile("t.yaml", text),))
    policy = compile_files(files, fault, RegorusEngine())
    found = tuple(run(cases, policy, RegorusEngine(), now=0.0))
    assert [one.wrong for one in found] == [(), ()]
    (missed,) = coverage(files, cases, found).missed
    assert (missed.kind, missed.origin) == ("denial", "policy/nights.rego:7")
    trial = Trial(
        files,
        parse_cases((SourceFile("t.yaml", text.replace("{rule: custom.nights.deny}", "deny")),)),
        (),
        fault,
        0.0,
    )
    fates = [trial.fate(one) for one in mutants(trial.tree) if ".rego" in one.origin]
    assert [(one.mutant.origin, one.fate, one.by) for one in fates] == [
        ("policy/nights.rego:5", "killed", "b"),
        ("policy/nights.rego:7", "survived", ""),
    ]


def test_a_fault_of_the_engine_passes_for_no_denial_that_somebody_expected(monkeypatch):
    broken = Deny(code="PC9001", reason="the policy could not be evaluated", risk=RiskClass.DELETE)
    monkeypatch.setattr(RegoPdp, "decide", lambda *_: broken)
    assert wrong("tool: a.b, expect: deny") == ("expected deny, got deny PC9001",)
    assert wrong("tool: a.b, expect: PC9001") == ()


def test_coverage_says_what_was_decisive_and_what_never_was():
    cases, found = outcomes(
        "case: a, tool: orders.search, arguments: {customer_id: C-1}, expect: allow",
        "case: b, tool: orders.search, arguments: {customer_id: C-1, limit: 101}, expect: deny",
        "case: c, tool: danger.x, expect: PC3002",
        "case: d, tool: kb.search, expect: deny",
        "case: e, model: gpt-5, features: [openai.web_search], expect: allow",
    )
    said = coverage(POLICY, cases, found)
    assert {one.path for one in said.covered} == {
        "roles.support.permissions[0]",
        "roles.support.denied_tools[1]",
        "roles.support.models[0]",
        "roles.support.provider_features[0]",
        "tools.orders.search.arguments.limit.maximum",
    }
    missed = {one.path: one for one in said.missed}
    assert missed["roles.support.allowed_tools[0]"].told == "kb.search", "its case failed"
    assert missed["tools.files.read.arguments.path.prefix"].origin == "policy/main.yaml:36"
    assert said.percent == pytest.approx(100 * 5 / 22)


RULES = """package shop_test

import rego.v1

input_of(agent) := {"action": "tool", "server": "kb", "name": "search", "arguments": {},
\t"session": null, "principal": {"kind": "agent", "id": agent, "session": null}}

ask(agent) := said if said := data.portcullis.decision with input as input_of(agent)

test_granted if ask("support-1").allow

test_strangers if {
\tsaid := ask("nobody")
\tsaid.code == "PC3009"
}

test_undefined if ask("nobody").nothing == 1

test_false := ask("nobody").allow

todo_test_later if false

helper if true
"""


def test_rules_hold_by_what_the_interpreter_says_of_the_compiled_policy():
    bundle = compile_files(POLICY, fault, RegorusEngine()).bundle
    found = run_rules((SourceFile("tests/a_test.rego", RULES),), bundle)
    assert {one.rule: (one.passed, one.skipped) for one in found} == {
        "shop_test.test_granted": (True, False),
        "shop_test.test_strangers": (True, False),
        "shop_test.test_undefined": (False, False),
        "shop_test.test_false": (False, False),
        "shop_test.todo_test_later": (False, True),
    }
    assert found[0].origin == "tests/a_test.rego:10"


@pytest.mark.parametrize("text", ["package a\ntest_x if {", "package a\ntest_x if nothing(1)"])
def test_rules_that_cannot_be_evaluated_are_an_error_and_no_failure(text):
    bundle = compile_files(POLICY, fault, RegorusEngine()).bundle
    with pytest.raises(Problem) as caught:
        run_rules((SourceFile("tests/a_test.rego", text),), bundle)
    assert caught.value.code == "PC7023"
    assert "a_test.rego" in caught.value.detail


def test_junit_holds_each_outcome_and_no_character_that_xml_cannot():
    _, found = outcomes(
        "case: a <b> & c, tool: kb.search, expect: allow",
        "case: d, tool: kb.search, expect: deny",
    )
    rules = [
        Ruled(rule="a.test_x", origin="tests/a_test.rego:3", passed=False),
        Ruled(rule="a.todo_test_y", origin="tests/a_test.rego:4", passed=False, skipped=True),
    ]
    said = junit(found, rules)
    assert '<testsuite name="cases" tests="2" failures="1" errors="0" skipped="0">' in said
    assert 'name="a &lt;b&gt; &amp; c" file="tests/a.yaml" line="4"/>' in said
    assert '<failure message="expected deny, got allow"/>' in said
    assert '<testsuite name="test_ rules" tests="2" failures="1" errors="0" skipped="1">' in said
    assert "<skipped/>" in said
    assert len(list(ET.fromstring(said).iter("testcase"))) == 4  # noqa: S314 - our own
    strange = [Ruled(rule="a\x00b", origin="x:1", passed=True)]
    assert 'name="a\ufffdb"' in junit((), strange)
