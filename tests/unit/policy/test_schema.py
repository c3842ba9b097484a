"""The schema that editors read, held against the grammar that the gate reads by."""

import copy
import re
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from policies import PAIR, SUPPORT
from portcullis.catalogue.schema import fault
from portcullis.core.errors import Problem
from portcullis.core.inspection import Channel, Source
from portcullis.policy.grammar import parse
from portcullis.policy.schema import policy_schema
from portcullis.policy.source import SourceFile
from portcullis.policy.yaml import Reader

SCHEMA = policy_schema()
VALID = jsonschema_rs.validator_for(SCHEMA)
EVERYTHING = """\
version: 1
windows: {office: {days: [mon], from: "08:00", to: "18:00", zone: UTC}}
agents:
  a:
    role: r
    owner: team
    expires: "2027-06-30"
    review_by: "2027-01-31"
    observe: {until: "2027-01-01", reason: x}
roles:
  base: {}
  d: {allowed_tools: [kb.d], data_access: {namespaces: [x], secrets: false, other: true}}
  r:
    inherits: [base]
    environments: [production]
    permissions: [{read: orders, when: session.user == 'x', during: office, reason: y}]
    allowed_tools:
      - {tool: kb.a, until: "2027-01-01", environments: [production], when: {rego: "true"}}
    denied_tools: [{tool: kb.x, reason: y}]
    models: [{model: m, until: "2027-01-01"}]
    provider_features: [{feature: openai.x, until: "2027-01-01"}]
    allowed_resources: [{resource: kb.x, until: "2027-01-01", data: none}]
    allowed_prompts: [{prompt: kb.x, until: "2027-01-01", data: none}]
    server_requests: [{request: kb.roots/list, until: "2027-01-01"}]
    egress: [{host: api.example, until: "2027-01-01", terminate: true, methods: [GET], paths: [/a]}]
    inspection:
      {to_model: {secret: mask}, injection: {tool: block}, opaque: {to_model: hold}, links: [a.b]}
    containment: {intent: {modify: allow}, grant: deny, never: [[intent]], approvals: 3}
    obligations: {mask: {a.b: drop}, log: [x], approvers: {delete: 2}}
    resource_limits: {calls: 1, tokens: 2, seconds: 3}
tools:
  kb.a:
    obligations: {approvers: 1}
    answers: {x: {role: amount, carries: true}}
  kb.d:
    data:
      namespaces: {argument: n, everything: all, results: "items.*.n"}
      kinds: {argument: k, classes: {secrets: [s], other: [t]}}
  kb.q: {risk: read, arguments: {q: {role: selector}}}
  orders.get:
    resource: orders
    verb: read
    risk: read
    raise: [{when: {n: {over: 3}}, risk: delete}, {when: {n: present}, risk: external}]
    arguments:
      n: {maximum: 5, log: clear, role: amount, tolerate: [sql], schema: {type: integer}}
      to: {enum: [a], role: destination, carries: true, lookup: {tool: orders.look, query: q}}
    results:
      "[].x": {trusted: destination, confidentiality: secret, clearance: secret, links: true}
    intent: [order]
    sends: arguments
    memory: {store: s, writes: true, appends: true, record: n, from: to, records: "[].x"}
  orders.look: {risk: read, arguments: {q: {role: selector}}}
limits:
  l:
    for: {agent: "a*"}
    per: [agent]
    requests: {rate: 60/minute, burst: 3}
    tokens: {input: 1/day}
    cost: [20 USD/month]
    burn: 2
    risk: {elevated: 0.5}
quarantine: {reads: [kb.q], models: [m], otherwise: hold}
"""


def problems(text):
    try:
        parse((SourceFile("p/main.yaml", text),), fault)
    except Problem as problem:
        return problem.detail
    return ""


def test_every_key_that_the_grammar_knows_is_in_the_schema_and_no_other(monkeypatch):
    known, section = {}, Reader.section
    denials = "roles.r.denied_tools[]"

    def seen(self, node, path, keys):
        known[path] = set(map(str, keys))
        return section(self, node, path, keys)

    monkeypatch.setattr(Reader, "section", seen)
    problems(EVERYTHING)
    kinds = {re.sub(r"\[\d+\]", "[]", path): keys for path, keys in known.items()}
    assert len(kinds) > 40
    properties = [frozenset(one["properties"]) for one in _objects(SCHEMA)]
    assert kinds.pop(denials) > {"tool", "reason"}
    missing = {path: keys for path, keys in kinds.items() if frozenset(keys) not in properties}
    assert missing == {}
    tables = {frozenset(map(str, Source)), frozenset(map(str, Channel))}
    # Of a denial the grammar knows the terms, too: it says why none goes there.
    assert set(properties) - set(map(frozenset, kinds.values())) == tables | {
        frozenset({"tool", "reason"})
    }


def _objects(schema):
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from _objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _objects(inner)


def policies():
    root = Path(__file__).parents[3]
    pages = [root / "docs" / "policy.md", root / "docs" / "policy-language.md"]
    blocks = [
        block
        for page in pages
        for block in re.findall(r"```yaml\n(version: 1\n.*?)```", page.read_text(), re.DOTALL)
    ]
    files = [path.read_text() for path in sorted(root.glob("examples/policies/*/*.yaml"))]
    return [SUPPORT, PAIR, EVERYTHING, *blocks, *files]


def test_every_policy_of_ours_fits():
    found = [list(VALID.iter_errors(yaml.safe_load(text))) for text in policies()]
    assert len(found) > 3
    assert not any(found), found


WRONG = (None, True, 7, "", "?", [], {}, [[]], {"?": 1}, ["", ""])


@pytest.mark.parametrize(
    ("said", "slip"),
    [
        ("days: [mon]", "days: [mon, mon]"),
        ("inherits: [base]", "inherits: [base, base]"),
        ("resource_limits: {calls: 1, tokens: 2, seconds: 3}", "resource_limits: {}"),
        ("obligations: {approvers: 1}", "obligations: {}"),
        ("when: session.user == 'x'", 'when: ""'),
    ],
)
def test_what_says_nothing_or_says_it_twice_is_shown_in_the_editor(said, slip):
    text = EVERYTHING.replace(said, slip)
    assert text != EVERYTHING
    assert problems(text)
    assert not VALID.is_valid(yaml.safe_load(text))


def mutants(value, path=()):
    """The document with one value after the other replaced by something else."""
    for wrong in WRONG:
        yield path, wrong
    lists = enumerate(value) if isinstance(value, list) else ()
    for key, inner in value.items() if isinstance(value, dict) else lists:
        yield from mutants(inner, (*path, key))


@pytest.mark.parametrize(
    ("text", "every"), [(SUPPORT, 4), (EVERYTHING, 16)], ids=["support", "everything"]
)
def test_what_the_schema_refuses_the_grammar_refuses(text, every):
    """Of the mutants that it refuses, one in so many: all of them took half a minute."""
    document, refused = yaml.safe_load(text), 0
    assert "main.yaml" not in problems(text)
    for path, wrong in mutants(document):
        mutant = copy.deepcopy(document)
        if path:
            inner = mutant
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = wrong
        else:
            mutant = wrong
        if not VALID.is_valid(mutant):
            refused += 1
            assert refused % every or problems(yaml.safe_dump(mutant)), (path, wrong)
    assert refused > 200
