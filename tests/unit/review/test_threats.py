"""If these fail, a threat model says that what is switched off covers something, or the reverse."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

import policies
from databases import new_database
from portcullis.bootstrap.keys import keys_of
from portcullis.catalogue.schema import fault
from portcullis.cli.policy import app
from portcullis.config import load
from portcullis.core.call import RiskClass
from portcullis.core.containment import Confidentiality
from portcullis.core.errors import Problem
from portcullis.core.inspection_ports import Pin
from portcullis.core.release import File, Release, Stage, text_digest
from portcullis.core.verdict import Allow
from portcullis.identity.sealing import Envelope
from portcullis.policy import source
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile
from portcullis.review import threats_rating
from portcullis.review.mapping import register
from portcullis.review.threats import Model, threat_model
from portcullis.review.threats_acting import ACTING
from portcullis.review.threats_data import kinds
from portcullis.review.threats_layout import MOST, layout
from portcullis.review.threats_map import Node, Zone
from portcullis.review.threats_proofs import (
    PLACE,
    Record,
    Run,
    code_digest,
    own_record,
    read_record,
)
from portcullis.review.threats_rating import (
    Coverage,
    Impact,
    Level,
    Likelihood,
    after,
    level,
)
from portcullis.review.threats_scene import Scene
from portcullis.review.threats_since import changes, read_model
from portcullis.review.threats_svg import svg
from portcullis.review.threats_text import html, markdown
from portcullis.store.policy_releases import SqlReleases

EXAMPLES = Path(__file__).parents[3] / "examples/policies"
ENGINE = RegorusEngine()
NOW = 1_794_000_000.0
CONFIG = """\
trust_domain: example.org
models:
  main: {shape: openai, url: "https://models.example", credential: env:MODEL}
mcp:
  crm: {url: "https://crm.example/mcp", credential: env:CRM}
  files: {command: [files-server], sandbox: strict}
"""
POLICY = """\
version: 1
containment: {}
limits:
  all: {for: {agent: "*"}, requests: 60/minute}
agents:
  bot: {role: helper, owner: team}
roles:
  helper:
    permissions: [{read: customers}]
    allowed_tools: [crm.mail, crm.drop]
    models: [gpt-*]
    obligations: {approvers: {external: 1, delete: 1}}
tools:
  crm.get:
    resource: customers
    verb: read
    risk: read
    arguments: {id: {equals: session.subject.customer}}
    results: {"notes": {confidentiality: confidential}}
  crm.mail: {risk: external, arguments: {to: {role: destination}, text: {role: payload}}}
  crm.drop: {risk: delete, arguments: {id: {role: object}}}
"""
PINNED = (Pin(server="crm", tool="get", digest="0", definition="{}", pinned_at=0, approved_by="a"),)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("threats")


@pytest.fixture(scope="module")
def model(place):
    """The model of a configuration and a policy."""

    def made(config=CONFIG, policy=POLICY, *, pins=PINNED, record=None) -> Model:
        return threat_model(scene(place, config, policy, pins), record)

    return made


def scene(place, config=CONFIG, policy=POLICY, pins=PINNED) -> Scene:
    file = place / "portcullis.yaml"
    file.write_text(config, encoding="utf-8")
    read = parse((SourceFile("policy/p.yaml", policy),), fault)
    return Scene(config=load(file), policy=read, now=NOW, pins=pins)


def coverage(found: Model, threat: str, about: str) -> Coverage | None:
    """What is said of a threat to somebody; None when there is no such threat."""
    return next((t.coverage for t in found.threats if t.key == (threat, about)), None)


def swap(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


NONE, SOME, ALL = Coverage.UNCOVERED, Coverage.PARTLY, Coverage.COVERED
BOT = "agent bot"
P = "policy"
C = "config"
# threat, about whom, what of the plain deployment is said of it; where is changed what to what, and
# what is said then. None: there is no such threat.
CASES = [
    ("goal-hijack", BOT, ALL, P, "containment: {}", "inspection: {injection: {tool: allow}}", SOME),
    ("goal-hijack", BOT, ALL, P, "containment: {}\n", "", SOME),
    (
        "goal-hijack",
        BOT,
        ALL,
        P,
        "containment: {}",
        "containment: {}\ninspection: {envelope: off}",
        SOME,
    ),
    (
        "data-exfiltration",
        BOT,
        ALL,
        P,
        "obligations: {approvers: {external: 1, delete: 1}}",
        "",
        SOME,
    ),
    ("data-exfiltration", BOT, ALL, P, "confidential}", "public}", None),
    (
        "data-exfiltration",
        BOT,
        ALL,
        P,
        "containment: {}",
        "containment: {}\ninspection: {canaries: false}",
        SOME,
    ),
    ("outward-action", BOT, ALL, P, "{external: 1, delete: 1}", "{delete: 1}", SOME),
    (
        "outward-action",
        BOT,
        ALL,
        P,
        "containment: {}",
        "containment: {link: {external: allow}}",
        SOME,
    ),
    ("outward-action", BOT, ALL, P, "[crm.mail, crm.drop]", "[crm.drop]", None),
    ("outward-action", BOT, ALL, C, "mcp:", "review: {risks: [delete]}\nmcp:", SOME),
    ("destruction", BOT, ALL, P, "{external: 1, delete: 1}", "{external: 1}", SOME),
    ("destruction", BOT, ALL, P, "[crm.mail, crm.drop]", "[crm.mail]", None),
    ("undescribed-tool", BOT, None, P, "[crm.mail, crm.drop]", "[crm.mail, crm.what]", ALL),
    ("undescribed-tool", BOT, None, P, "{id: {role: object}}}", "{}}", ALL),
    ("ladder", BOT, None, P, "results: {", "results: {id: {trusted: [destination]}, ", None),
    ("too-much-data", BOT, ALL, P, "equals: session.subject.customer", "max_length: 9", NONE),
    (
        "model-sees-data",
        BOT,
        ALL,
        P,
        "containment: {}",
        "inspection: {to_model: {health: allow}}",
        SOME,
    ),
    (
        "model-sees-data",
        BOT,
        ALL,
        P,
        "containment: {}",
        "inspection: {opaque: {to_model: allow}}",
        SOME,
    ),
    ("model-sees-data", BOT, ALL, P, "models: [gpt-*]", "models: []", None),
    ("secret-leak", BOT, ALL, P, "containment: {}", "inspection: {to_tool: {secret: allow}}", NONE),
    ("runaway", BOT, ALL, P, 'agent: "*"', "agent: other", SOME),
    ("runaway", BOT, ALL, P, 'agent: "*"', "tool: crm.get", SOME),
    ("runaway", BOT, ALL, C, "mcp:", "breakers: {agent: {enabled: false}}\nmcp:", SOME),
    (
        "provider-side-action",
        BOT,
        None,
        P,
        "models: [gpt-*]",
        "provider_features: [openai.web_search]",
        NONE,
    ),
    ("server-asks", BOT, None, P, "models:", "server_requests: [crm.roots/list]\n    models:", ALL),
    (
        "egress-out",
        BOT,
        None,
        P,
        "models:",
        "egress: [{host: a.example, terminate: true}]\n    models:",
        ALL,
    ),
    ("egress-out", BOT, None, P, "models:", "egress: [{host: a.example}]\n    models:", SOME),
    ("egress-out", BOT, None, P, "models:", 'egress: [{host: "*.a.example"}]\n    models:', SOME),
    (
        "observed-agent",
        BOT,
        None,
        P,
        "owner: team",
        'owner: team, observe: {until: "2026-11-08T00:00:00Z", reason: new}',
        NONE,
    ),
    ("nobody-answers", BOT, None, P, ", owner: team", "", NONE),
    ("process-on-machine", "process mcp.files", ALL, C, "sandbox: strict", "sandbox: none", NONE),
    (
        "process-on-machine",
        "process mcp.files",
        ALL,
        C,
        "sandbox: strict}",
        "sandbox: big}\nsandbox: {profiles: {big: {cpu: 900}}}",
        NONE,
    ),
    (
        "model-code",
        "process tools.run.code",
        None,
        C,
        "mcp:",
        "tools: {run: {code: {}}}\nmcp:",
        ALL,
    ),
    ("rug-pull", "server crm", ALL, C, "crm: {url", "crm2: {url", None),
    ("wire-tap", "upstream crm", ALL, C, "https://crm.example", "http://crm.example", NONE),
    ("wire-tap", "upstream crm", ALL, C, "https://crm.example", "http://127.0.0.1:9", None),
    ("confused-deputy", "upstream crm", SOME, C, ", credential: env:CRM", "", None),
    (
        "confused-deputy",
        "upstream crm",
        SOME,
        C,
        "credential: env:CRM",
        "oauth: {mode: user, client_id: me}",
        ALL,
    ),
    ("guard-unasked", "toolset desk", None, C, "mcp:", "guard: {desk: {}}\nmcp:", NONE),
    (
        "decided-elsewhere",
        "application mesh",
        None,
        C,
        "mcp:",
        "decisions: {askers: [mesh]}\nmcp:",
        NONE,
    ),
    ("token-replay", "tokens", ALL, C, "mcp:", "tokens: {bearer: loopback}\nmcp:", NONE),
    (
        "exposed-listener",
        "listener mtls",
        None,
        C,
        "mcp:",
        'listen: {mtls: "0.0.0.0:7302"}\nmcp:',
        ALL,
    ),
    ("policy-change", "policy", NONE, C, "mcp:", "policy_changes: {approvals: 1}\nmcp:", ALL),
    (
        "approval-by-owner",
        "approvals",
        ALL,
        C,
        "mcp:",
        "approvals: {owner_may_approve: true}\nmcp:",
        NONE,
    ),
    (
        "rules-off",
        "inspection",
        None,
        C,
        "mcp:",
        "inspection: {without: [generic-secret]}\nmcp:",
        NONE,
    ),
    ("log-rewritten", "log", NONE, C, "mcp:", "audit: {witnesses: w.policy}\nmcp:", ALL),
    (
        "log-lost",
        "log",
        NONE,
        C,
        "mcp:",
        'audit: {replicate: [{name: far, store: "s3://b/x"}]}\nmcp:',
        ALL,
    ),
    (
        "log-lost",
        "log",
        NONE,
        C,
        "mcp:",
        'audit: {replicate: [{name: far, store: "file:///x"}]}\nmcp:',
        NONE,
    ),
    (
        "keys-stolen",
        "state directory",
        NONE,
        C,
        "mcp:",
        "keys: {kind: file, path: /elsewhere/key}\nmcp:",
        ALL,
    ),
]


@pytest.mark.parametrize(
    ("threat", "about", "before", "where", "old", "new", "then"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)],
)
def test_what_is_changed_in_a_deployment_changes_its_threats(
    model, threat, about, before, where, old, new, then
):
    assert coverage(model(), threat, about) == before
    config = swap(CONFIG, old, new) if where == C else CONFIG
    policy = swap(POLICY, old, new) if where == P else POLICY
    assert coverage(model(config, policy), threat, about) == then


def test_a_ladder_and_a_memory_are_threats_of_whoever_has_them(model):
    policy = POLICY.replace(
        "allowed_tools: [crm.mail, crm.drop]", "allowed_tools: [crm.mail, crm.put, crm.note]"
    ) + (
        "  crm.put: {resource: customers, verb: write, risk: modify,\n"
        "    arguments: {id: {role: object}}}\n"
        "  crm.note: {risk: modify, arguments: {key: {role: object}, text: {role: payload}},\n"
        "    memory: {store: notes, writes: true, record: [key]}}\n"
    )
    trusted = policy.replace("results: {", "results: {mail: {trusted: [destination]}, ")
    assert coverage(model(policy=policy), "ladder", BOT) is None
    assert coverage(model(policy=trusted), "ladder", BOT) is ALL
    free = trusted.replace("{external: 1, delete: 1}", "{delete: 1}")
    assert coverage(model(policy=free), "ladder", BOT) is NONE
    assert coverage(model(), "memory-poisoning", BOT) is None
    assert coverage(model(policy=policy), "memory-poisoning", BOT) is ALL
    bare = policy.replace("containment: {}\n", "")
    assert coverage(model(policy=bare), "memory-poisoning", BOT) is NONE


def test_pins_count_when_somebody_approved_them(model):
    assert coverage(model(), "rug-pull", "server crm") is ALL
    seen = (msgspec.structs.replace(PINNED[0], approved_by=""),)
    for pins in (None, (), seen):
        assert coverage(model(pins=pins), "rug-pull", "server crm") is SOME


def test_an_agent_whose_time_is_over_threatens_nothing(model):
    policy = swap(POLICY, "owner: team", 'owner: team, expires: "2026-01-01"')
    assert not [t for t in model(policy=policy).threats if t.about == BOT]


def test_every_kind_of_threat_and_every_switch_is_tried_above():
    tried = {case[0] for case in CASES} | {"memory-poisoning"}
    assert {kind.id for kind in kinds().threats} == tried
    assert set(ACTING) == {when for kind in kinds().threats for when in kind.controls.values()}
    assert {name for kind in kinds().threats for name in kind.ids} == set(kinds().names)


def test_impact_and_likelihood_follow_the_rules(model):
    by_key = {t.key: t for t in model().threats}
    drop, mail = by_key["destruction", BOT], by_key["outward-action", BOT]
    assert (drop.impact, mail.impact) == (Impact.CRITICAL, Impact.MAJOR)
    assert by_key["too-much-data", BOT].impact is Impact.MAJOR  # confidential, by a tool that reads
    assert drop.likelihood is Likelihood.LIKELY  # possible, and outsiders' words reach the agent
    assert (drop.inherent, drop.level) == (Level.CRITICAL, Level.HIGH)
    assert after(Likelihood.LIKELY, Coverage.PARTLY) is Likelihood.POSSIBLE
    assert level(Impact.MINOR, Likelihood.LIKELY) is Level.MEDIUM
    assert level(Impact.MAJOR, Likelihood.RARE) is Level.LOW
    assert level(Impact.CRITICAL, Likelihood.POSSIBLE) is Level.CRITICAL


def test_what_is_uncovered_stands_first_and_the_worst_of_it_before(model):
    found = model(policy=swap(POLICY, "containment: {}\n", "")).threats
    ranks = [list(Coverage).index(t.coverage) for t in found]
    assert ranks == sorted(ranks)
    bare = [list(Level).index(t.level) for t in found if t.coverage is NONE]
    assert bare == sorted(bare, reverse=True)


def test_every_name_in_a_model_is_one_of_the_deployments(model):
    found = model()
    known = {node.name for zone in found.boundaries for node in zone.nodes}
    assert {"bot", "crm", "files", "main", "log", "policy"} <= known
    subjects = {about for zone in found.boundaries for node in zone.nodes for about in node.about}
    assert {threat.about for threat in found.threats} <= subjects


def test_a_record_of_tests_says_which_proved_a_control(model, place):
    cells = [cell for cell in register().cells() if cell[0] == "approval"]
    assert "no control is known to be proven" in markdown(model())
    name = "/".join(map(str, cells[0]))
    record = Record(made="2026-11-01T00:00:00+00:00", version="1", cells={name: ("tests/x.py::y",)})
    found = model(record=record)
    cover = {c.control: c for t in found.threats for c in t.controls}
    assert (cover["approval"].proven, cover["approval"].cells) == (1, len(cells))
    assert cover["approval"].tests == ("tests/x.py::y",)
    assert cover["row-scope"].proven == 0
    assert "tests/x.py::y" in html(found)
    for bad in ('{"approval/mcp-http/request": []}', '{"made": "x", "version": "1", "cells": {}}'):
        (place / "bad.json").write_text(bad)
        with pytest.raises(Problem, match="PC7053"):
            read_record(place / "bad.json")


def test_a_record_says_how_old_it_is_and_whether_it_is_of_this_code(model):
    made = datetime.fromtimestamp(NOW - 3 * 86400 - 9, UTC).isoformat()
    record = Record(made=made, version="9", commit="c" * 40, digest=code_digest(), cells={})
    found = model(record=record)
    assert found.run == Run(made=made, days=3, version="9", commit="c" * 40, same=True)
    said = f"{made}, 3 days ago, of version 9, commit cccccccccccc: the code that runs here."
    assert said in markdown(found)
    for other in ("", "0" * 64):
        stale = model(record=msgspec.structs.replace(record, digest=other))
        assert not stale.run.same
        assert "other code than what runs here, of which nothing is proven" in markdown(stale)


def test_a_clone_finds_what_its_own_last_run_left(tmp_path):
    record = Record(made="2026-11-01T00:00:00+00:00", version="1", cells={})
    (tmp_path / "build").mkdir()
    (tmp_path / PLACE).write_bytes(msgspec.json.encode(record))
    assert own_record(tmp_path) is None  # a folder that happens to be named so
    (tmp_path / "pyproject.toml").touch()
    assert own_record(tmp_path) == record
    (tmp_path / PLACE).write_text("{")
    assert own_record(tmp_path) is None
    (tmp_path / PLACE).unlink()
    assert own_record(tmp_path) is None


SETTINGS = {
    "upstream-tls": (C, "https://crm.example", "http://crm.example"),
    "witnesses": (C, "audit: {", "audit: {witnesses: w.policy, "),
    "replicas": (C, "audit: {", 'audit: {replicate: [{name: far, store: "s3://b/x"}], '),
    "owner": (P, ", owner: team", ""),
    "exact-hosts": (P, "a.example", '"*.a.example"'),
}


def test_every_setting_that_is_no_control_is_read_where_it_is_set(model):
    assert set(SETTINGS) == set(kinds().settings)
    config = swap(CONFIG, "mcp:", "audit: {checkpoint_seconds: 9}\nmcp:")
    policy = swap(POLICY, "models: [gpt-*]", "models: [gpt-*]\n    egress: [{host: a.example}]")
    plain = _settings(model(config, policy))
    on, off = ("upstream-tls", "exact-hosts"), ("witnesses", "replicas")
    assert plain == dict.fromkeys(on, True) | dict.fromkeys(off, False)
    for name, (where, old, new) in SETTINGS.items():
        changed = {C: config, P: policy}
        changed[where] = swap(changed[where], old, new)
        was = plain.get(name, True)
        assert _settings(model(changed[C], changed[P])) == plain | {name: not was}, name


def _settings(found: Model) -> dict[str, bool]:
    """Each setting that a threat names, and whether it acts wherever it is named."""
    acts: dict[str, bool] = {}
    for cover in (cover for threat in found.threats for cover in threat.controls):
        if cover.control in kinds().settings:
            assert (cover.cells, cover.tests) == (0, ())
            acts[cover.control] = acts.get(cover.control, True) and not cover.off
    return acts


def test_what_changed_between_two_models_is_told_worst_first(model):
    old = model()
    loose = swap(CONFIG, "sandbox: strict", "sandbox: none").replace(
        "mcp:", "guard: {desk: {}}\nmcp:"
    )
    new = model(loose, swap(POLICY, "{external: 1, delete: 1}", "{delete: 1}"))
    found = {(c.kind, c.id): c for c in changes(old, new)}
    assert ("new", "guard-unasked") in found
    worse = found["worse", "process-on-machine"]
    assert worse.alarming
    assert worse.what == ("The gate starts it in no box.", "boxed-tools: `sandbox: none`")
    assert found["worse", "outward-action"].what == ("approval: nobody is asked about crm.mail",)
    back = {(c.kind, c.id) for c in changes(new, old)}
    assert {("gone", "guard-unasked"), ("better", "process-on-machine")} <= back
    assert changes(old, old) == ()


def test_boxes_never_overlap_and_stand_within_their_boundary(place):
    agents = "".join(f"  bot-{n}: {{role: {'helper' if n % 2 else 'other'}}}\n" for n in range(30))
    policy = swap(POLICY, "  bot: {role: helper, owner: team}\n", agents) + ""
    policy = swap(policy, "roles:\n", "roles:\n  other: {models: [gpt-*]}\n")
    servers = "".join(f'  s{n}: {{url: "https://s{n}.example/mcp"}}\n' for n in range(25))
    found = threat_model(scene(place, CONFIG + servers, policy))
    drawn = layout(found.boundaries, {})
    frames = [frame.rect for frame in drawn.frames]
    boxes = [box.rect for frame in drawn.frames for box in frame.boxes]
    for some in (frames, boxes):
        assert not [(a, b) for n, a in enumerate(some) for b in some[n + 1 :] if a.overlaps(b)]
    assert all(frame.rect.holds(box.rect) for frame in drawn.frames for box in frame.boxes)
    assert all(len(frame.boxes) <= MOST for frame in drawn.frames)
    names = [box.node.name for frame in drawn.frames for box in frame.boxes]
    assert {"role helper", "role other", "15 more"} <= set(names)
    straight = [flow.y1 == flow.y2 or flow.x1 == flow.x2 for flow in drawn.flows]
    assert straight
    assert all(straight)
    assert drawn == layout(found.boundaries, {})


def test_what_is_threatened_most_is_not_joined_with_the_rest():
    nodes = tuple(Node(name=f"s{n:02}", detail="", about=(f"server s{n:02}",)) for n in range(20))
    zone = Zone(title="Servers", trust="", side="beyond", nodes=nodes)
    drawn = layout([zone], {"server s19": 4, "server s18": 3})
    names = [box.node.name for frame in drawn.frames for box in frame.boxes]
    assert names[-3:] == ["s18", "s19", "9 more"]


def test_the_drawing_is_a_plain_document_with_a_title_and_words(model):
    config = swap(CONFIG, "sandbox: strict", "sandbox: none")
    drawn = svg(model(config))
    root = ET.fromstring(drawn)  # noqa: S314 - made here
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "defs", "marker", "path", "rect", "g", "line", "text"}
    assert root.get("aria-labelledby") == "flows-title flows-desc"
    said = " ".join(root.itertext())
    assert "critical: 1 uncovered, 1 partly" in said
    assert "Data flows of example.org" in said
    assert not re.search(r"style=|<script|href=|on[a-z]+=", drawn)


def test_pages_escape_what_others_wrote(model):
    found = model(swap(CONFIG, "mcp:", "audit: {witnesses: '<b onload=x>|`'}\nmcp:"))
    assert "<b onload" not in html(found)
    assert "&lt;b onload=x&gt;" in html(found)
    assert "<b onload" not in svg(found)
    assert r"\<b onload=x\>\|\`" in markdown(found)
    head = html(found).partition("<body>")[0]
    assert "default-src 'none'; style-src 'sha256-" in head


def test_markdown_has_the_parts_of_a_threat_model_in_their_order(model):
    heads = re.findall(r"^## (.*)$", markdown(model()), re.MULTILINE)
    assert heads == [
        "Uncovered",
        "Partly covered",
        "Covered",
        "Data flows and trust boundaries",
        "Assets",
        "Adversaries",
        "Identifiers",
        "What the gate does not protect from",
    ]


OBLIGED = """\
version: 1
agents: {a: {role: r}}
roles:
  r:
    allowed_tools:
      - x.plain
      - {tool: x.one, obligations: {approvers: 1}}
      - {tool: x.two, obligations: {approvers: {delete: 2}}}
      - x.own
tools:
  x.one: {risk: read}
  x.two: {risk: delete}
  x.own: {risk: modify, obligations: {approvers: 1}}
"""


@pytest.mark.parametrize("name", ["risk-table", "infrastructure", ""])
def test_who_is_asked_about_a_tool_is_as_the_gate_decides(place, name):
    own = (SourceFile("policy/p.yaml", OBLIGED),)
    files = source.read(EXAMPLES / name) if name else own
    (place / "portcullis.yaml").write_text("trust_domain: example.org\n")
    seen = Scene(config=load(place / "portcullis.yaml"), policy=parse(files, fault), now=NOW)
    compared = 0
    pdp = policies.RegoPdp(policies.compile_files(files, fault, ENGINE), ENGINE)
    for agent in seen.agents:
        session = policies.session_of(agent=agent.name)
        for tool in agent.reach.tools:
            asked = policies.call(target=tool)
            verdict = pdp.decide(asked, policies.context(agent.name, session))
            if isinstance(verdict, Allow):
                owed = verdict.obligations
                people = 0 if owed is None else owed.people(seen.risk(tool).value)
                assert seen.people(agent, tool) == people, tool
                compared += 1
    assert compared


def test_the_page_has_the_rules_as_they_are():
    page = (EXAMPLES.parents[1] / "docs/threats.md").read_text()
    rows = re.findall(r"^\| (?:class|data).*?\| (.*) \|$", page, re.MULTILINE)
    of_class, of_data = (row.split(" | ") for row in rows)
    assert [threats_rating._OF_CLASS[RiskClass(one)] for one in of_class] == list(Impact)
    assert [threats_rating._OF_DATA[Confidentiality(one)] for one in of_data] == list(Impact)
    assert ", ".join(Impact) in page
    assert ", ".join(Likelihood) in page
    settings = ", ".join(f"`{name}`" for name in kinds().settings)
    assert settings in page


@pytest.fixture
def deployed(tmp_path, monkeypatch):
    (tmp_path / "portcullis.yaml").write_text(CONFIG)
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/p.yaml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_a_model_and_says_when_it_got_worse(deployed):
    run = CliRunner()
    done = run.invoke(app, ["threats", "--json"])
    assert done.exit_code == 0
    (deployed / "old.json").write_text(done.stdout)
    assert json.loads(done.stdout)["trust_domain"] == "example.org"
    shown = run.invoke(app, ["threats", "--html", "t.html", "--svg", "t.svg"])
    assert shown.stdout.startswith("# Threat model of example.org")
    assert "<svg" in (deployed / "t.html").read_text()
    ET.parse(deployed / "t.svg")  # noqa: S314 - made here
    same = run.invoke(app, ["threats", "--against", "old.json"])
    assert (same.exit_code, same.stdout) == (0, "")
    config = swap(CONFIG, "sandbox: strict", "sandbox: none")
    (deployed / "portcullis.yaml").write_text(config)
    worse = run.invoke(app, ["threats", "--against", "old.json"])
    assert worse.exit_code == 5
    assert worse.stdout.startswith("worse    process-on-machine, process mcp.files: uncovered")


def test_the_model_is_of_what_is_in_force_where_the_folder_is_not(deployed):
    (deployed / "portcullis.yaml").write_text(CONFIG + "\npolicy_changes: {approvals: 1}\n")
    config = load(deployed / "portcullis.yaml")
    config.state.mkdir(mode=0o700)
    engine = new_database(config.state / "portcullis.db")
    book = SqlReleases(engine, Envelope(keys_of(config, create=True)))
    files = (File(name="policy/p.yaml", text=POLICY),)
    book.first(
        Release(
            number=0,
            digest="sha256:" + "0" * 64,
            text=text_digest(files),
            origin="folder",
            proposed_by="",
            proposed_at=1.0,
            stage=Stage.ACTIVE,
            changed_at=1.0,
            active_at=1.0,
        ),
        files,
    )
    engine.dispose()
    run = CliRunner()
    before = run.invoke(app, ["threats", "--json"])
    (deployed / "old.json").write_text(before.stdout)
    (deployed / "policy/p.yaml").write_text(swap(POLICY, "containment: {}\n", ""))
    assert run.invoke(app, ["threats", "--against", "old.json"]).exit_code == 0
    assert run.invoke(app, ["threats", "policy", "--against", "old.json"]).exit_code == 5


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(Problem, match="PC7052"):
        read_model(tmp_path / "x.json")
