from functools import partial

import pytest

from portcullis.catalogue.schema import fault
from portcullis.core.errors import Problem
from portcullis.policy.compiler import compile_policy
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile
from portcullis.policy.testing.cases import parse_cases
from portcullis.policy.testing.mutants import mutants
from portcullis.policy.testing.mutants_bounds import windows
from portcullis.policy.testing.mutants_terms import conditions, obligations
from portcullis.policy.testing.mutate import Fate, Mutation, Trial, mutate
from portcullis.policy.testing.tree import Tree

DOCS = "files.file:///srv/docs/*"
POLICY = """\
version: 1
agents:
  a-1: {role: clerk}
roles:
  clerk:
    permissions: [{read: orders}]
    allowed_tools: [kb.search]
    denied_tools: [crm.delete]
    models: [gpt-*]
    allowed_resources: ["files.file:///srv/docs/*"]
    egress: [{host: api.example.org, methods: [GET], terminate: true}]
  boss: {}
tools:
  orders.find:
    resource: orders
    verb: read
    risk: read
    arguments:
      limit: {minimum: 1, maximum: 10}
      state: {enum: [open, closed]}
  orders.change:
    resource: orders
    verb: write
    risk: modify
    arguments:
      path: {prefix: /srv/docs/}
      text: {max_length: 5}
"""
CASES = """\
version: 1
defaults: {agent: a-1}
cases:
  - {case: find, tool: orders.find, arguments: {limit: 10}, expect: {verdict: allow, risk: read}}
  - {case: change, tool: orders.change, expect: {code: PC3001, risk: modify}}
"""


def tree(text):
    return Tree((SourceFile("policy/main.yaml", text),))


def made(text=POLICY):
    return {(one.change, one.told): one for one in mutants(tree(text))}


class Clock:
    """Goes on by ``step`` seconds whenever somebody looks."""

    def __init__(self, step=0.0):
        self.time, self.step = 0.0, step

    def now(self):
        return self.time

    def monotonic(self):
        self.time += self.step
        return self.time


def trial(cases=CASES, rules=()):
    files = (SourceFile("policy/main.yaml", POLICY),)
    parsed = parse_cases((SourceFile("tests/a.yaml", cases),))
    return Trial(files, parsed, rules, fault, 0.0)


def test_each_part_is_flipped_dropped_and_widened_and_says_where_and_what_would_kill_it():
    found = made()
    assert set(found) == {
        ("drop", "without agents.a-1"),
        ("swap", "a-1 has the role boss instead of clerk"),
        ("drop", "without roles.clerk.permissions[0] read:orders"),
        ("drop", "without roles.clerk.allowed_tools[0] kb.search"),
        ("drop", "without roles.clerk.models[0] gpt-*"),
        ("widen", "roles.clerk.models[0] is * instead of gpt-*"),
        ("drop", "without roles.clerk.allowed_resources[0] files.file:///srv/docs/*"),
        ("widen", f"roles.clerk.allowed_resources[0] is files.file:///srv/* instead of {DOCS}"),
        ("drop", "without roles.clerk.egress[0] api.example.org"),
        ("drop", "without roles.clerk.egress[0].methods"),
        ("flip", "kb.search goes to denied_tools of clerk"),
        ("drop", "without roles.clerk.denied_tools[0] crm.delete"),
        ("flip", "crm.delete goes to allowed_tools of clerk"),
        ("raise", "clerk may also write orders"),
        ("widen", "clerk may use orders.change"),
        ("widen", "boss may use orders.find"),
        ("widen", "boss may use orders.change"),
        ("widen", "boss may use kb.search"),
        ("widen", "boss may use crm.delete"),
        ("drop", "without tools.orders.find.arguments.limit.minimum"),
        ("widen", "tools.orders.find.arguments.limit.minimum is 0 instead of 1"),
        ("drop", "without tools.orders.find.arguments.limit.maximum"),
        ("widen", "tools.orders.find.arguments.limit.maximum is 11 instead of 10"),
        ("drop", "without tools.orders.find.arguments.state.enum"),
        ("narrow", "tools.orders.find.arguments.state.enum without open"),
        ("narrow", "tools.orders.find.arguments.state.enum without closed"),
        ("lower", "orders.change is of the class read instead of modify"),
        ("drop", "without tools.orders.change.arguments.path.prefix"),
        (
            "widen",
            "tools.orders.change.arguments.path.prefix is /srv/ instead of /srv/docs/",
        ),
        ("drop", "without tools.orders.change.arguments.text.max_length"),
        ("widen", "tools.orders.change.arguments.text.max_length is 6 instead of 5"),
    }
    wide = found["widen", "tools.orders.find.arguments.limit.maximum is 11 instead of 10"]
    assert wide.origin == "policy/main.yaml:19"
    assert wide.needs == "a denied call of orders.find with limit: 11"


def test_every_mutant_of_these_is_a_policy_that_loads_and_decides_by_other_rules():
    one = tree(POLICY)
    before = compile_policy(parse(one.files, fault))
    for mutant in mutants(one):
        after = one.edited(mutant.edits)
        assert compile_policy(parse(after, fault)) != before, mutant.told


def test_conditions_windows_and_obligations_are_changed_too():
    one = tree(
        "windows: {office: {days: [mon, tue], from: '08:00', to: '23:30', zone: Europe/Berlin}}\n"
        "agents: {a-1: {role: clerk, expires: '2027-06-30'}}\n"
        "roles:\n"
        "  clerk:\n"
        "    inherits: [base]\n"
        "    environments: [production]\n"
        "    permissions:\n"
        "      - read: orders\n"
        "        when: \"arguments.n <= 3 and not (session.user in ['a or b'])\"\n"
        "        during: office\n"
        "        until: '2027-01-31'\n"
        "        obligations: {mask: {a.b: drop}, log: [n], approvers: 2}\n"
        "    models: [{model: gpt-*, during: office}]\n"
        "  base: {allowed_tools: [{tool: kb.search, obligations: {approvers: 1}}]}\n"
    )
    told = {found.told for found in mutants(one)}
    clause = "roles.clerk.permissions[0]"
    assert told >= {
        "without agents.a-1.expires",
        "without roles.clerk.inherits[0] base",
        "without roles.clerk.environments",
        f"without {clause}.when",
        f"{clause}.when: <= is < (column 13)",
        f"{clause}.when: and is or (column 18)",
        f"{clause}.when: in is not in (column 40)",
        f"without {clause}.during",
        f"without {clause}.until",
        f"without {clause}.obligations.mask.a.b",
        f"without {clause}.obligations.log[0] n",
        f"{clause}.obligations.approvers is 1 instead of 2",
        "without roles.base.allowed_tools[0].obligations.approvers",
        "kb.search goes to denied_tools of base",
        "roles.clerk.models[0].model is * instead of gpt-*",
        "windows.office is open on all days",
        "windows.office.from is 07:00 instead of 08:00",
    }
    assert not any("'a and b'" in said or "windows.office.to" in said for said in told)
    base = next(role for role in one.section("roles") if role.name == "base")
    (tool,) = one.below(one.child(base, "allowed_tools"))
    (gone,) = obligations(one, tool, "base")
    assert '"allowed_tools": [{"tool": "kb.search"}]' in one.edited(gone.edits)[0].text
    assert not list(conditions(one, base, "base"))
    (office,) = one.section("windows")
    assert [found.change for found in windows(one, office)] == ["widen", "widen"]


def test_limits_and_access_to_data_are_changed_too():
    one = tree(
        "roles:\n"
        "  clerk:\n"
        "    resource_limits: {calls: 50}\n"
        "    data_access: {namespaces: [a, b], secrets: false, maps: true}\n"
        "    obligations: {approvers: {external: 1, delete: 2}}\n"
        "tools:\n"
        "  kube.get:\n"
        "    risk: read\n"
        "    data:\n"
        "      namespaces: {argument: n, everything: all, results: 'items.*.n'}\n"
        "      kinds: {argument: k, classes: {secrets: [secret, Secret], maps: [map, Map]}}\n"
    )
    assert {found.told for found in mutants(one)} == {
        "without roles.clerk.obligations.approvers.external",
        "roles.clerk.obligations.approvers.delete is 1 instead of 2",
        "without roles.clerk.resource_limits.calls",
        "roles.clerk.resource_limits.calls is 51 instead of 50",
        "roles.clerk.data_access.namespaces is all there are",
        "roles.clerk.data_access.namespaces without a",
        "roles.clerk.data_access.namespaces without b",
        "roles.clerk.data_access.secrets is true",
        "roles.clerk.data_access.maps is false",
        "clerk may use kube.get",
        "tools.kube.get.data is none",
        "without tools.kube.get.data.namespaces.argument",
        "without tools.kube.get.data.namespaces.everything",
        "without tools.kube.get.data.namespaces.results",
        "without tools.kube.get.data.kinds.argument",
        "secret is of the class maps instead of secrets",
        "Secret is of the class maps instead of secrets",
        "tools.kube.get.data.kinds.classes.maps without map",
        "tools.kube.get.data.kinds.classes.maps without Map",
    }


def test_a_mutant_is_killed_by_the_case_or_rule_that_notices_and_survives_where_none_does():
    rules = (
        SourceFile(
            "tests/a_test.rego",
            "package a_test\nimport rego.v1\ntest_search if data.portcullis.decision.allow with "
            'input as {"action": "tool", "server": "kb", "name": "search", "arguments": {}, '
            '"session": null, "principal": {"kind": "agent", "id": "a-1", "session": null}}\n',
        ),
    )
    one = trial(rules=rules)
    told = {each.told: each for each in mutants(one.tree)}
    for said, fate, by in (
        ("without roles.clerk.permissions[0] read:orders", "killed", "find"),
        ("clerk may also write orders", "killed", "change"),
        ("without roles.clerk.allowed_tools[0] kb.search", "killed", "a_test.test_search"),
        ("tools.orders.find.arguments.limit.maximum is 11 instead of 10", "survived", ""),
    ):
        assert one.fate(told[said]) == Fate(mutant=told[said], fate=fate, by=by)


def test_the_number_of_a_rule_kills_no_mutant_for_taking_one_away_changes_it():
    policy = POLICY.replace("[kb.search]", "[kb.nothing, kb.search]")
    case = "{case: a, agent: a-1, tool: kb.search, expect: {rule: 'roles.clerk.allowed_tools[1]'}}"
    cases = parse_cases((SourceFile("tests/a.yaml", f"version: 1\ncases: [{case}]\n"),))
    one = Trial((SourceFile("policy/main.yaml", policy),), cases, (), fault, 0.0)
    gone = "without roles.clerk.allowed_tools[0] kb.nothing"
    (first,) = [each for each in mutants(one.tree) if each.told == gone]
    assert one.fate(first).fate == "survived"


def test_what_is_no_policy_is_not_counted():
    policy = POLICY.replace("[crm.delete]", '[crm.delete, "crm.*"]')
    one = Trial((SourceFile("policy/main.yaml", policy),), (), (), fault, 0.0)
    told = "crm.delete goes to allowed_tools of clerk"  # which crm.* denies
    (flip,) = [each for each in mutants(one.tree) if each.told == told]
    refused = one.fate(flip)
    assert refused.fate == "refused"
    killed = Fate(mutant=flip, fate="killed", by="a case")
    assert Mutation(fates=(refused, killed)).score == 100.0


def test_what_time_was_too_short_for_is_said_and_counts_as_not_killed():
    found = mutate(trial, Clock(step=1.0), seconds=5)
    assert len(found.fates) - len(found.of("untried")) == 4
    assert found.score < 100 * 5 / len(found.fates)


def test_several_processes_find_what_one_finds():
    text = "version: 1\nagents: {a-1: {role: clerk}}\nroles: {clerk: {models: [gpt-*]}}\n"
    case = "version: 1\ncases: [{case: a, agent: a-1, model: gpt-5, expect: allow}]\n"
    files = (SourceFile("policy/main.yaml", text),)
    cases = parse_cases((SourceFile("tests/a.yaml", case),))
    make = partial(Trial, files, cases, (), fault, 0.0)
    one = mutate(make, Clock(), seconds=60)
    assert mutate(make, Clock(), seconds=60, processes=2, worth=1) == one
    assert [each.fate for each in one.fates] == ["killed", "killed", "survived"]


def test_no_yaml_is_no_tree():
    with pytest.raises(Problem, match="PC7002"):
        tree("a: [")
