"""If these fail, a change of policy that lets an agent do more passes a build unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portcullis.catalogue.schema import fault
from portcullis.cli.policy import app
from portcullis.policy.grammar import parse
from portcullis.policy.model import Policy
from portcullis.policy.source import read
from portcullis.review.growth import growth

POLICY = """version: 1
agents: {helper: {role: helper, owner: team}}
roles:
  helper:
    permissions: [{write: mail}, {read: mail}]
    allowed_resources: [crm.notes://1]
    models: [gpt-small]
containment:
  destination: deny
  link: {external: deny}
  never: [[intent, destination], [link]]
  approvals: 5
tools:
  mail.send:
    resource: mail
    verb: write
    risk: external
    raise: [{when: {cc: present, body: present}, risk: delete}]
    intent: [send, mail]
    answers: {sure: {role: destination}}
    arguments:
      to: {role: destination}
      cc: {role: destination, carries: true}
      body: {role: payload, max_length: 100}
      kind: {role: selector, enum: [a, b]}
      folder: {role: object, prefix: docs/}
      count: {role: amount, minimum: 1, maximum: 9}
      host: {role: destination, equals: mail.example, schema: {type: string}}
      owner: {role: destination, equals: session.user}
      why: {role: payload, required: true}
  mail.find:
    resource: mail
    verb: read
    risk: read
    arguments: {query: {role: selector}}
    results:
      "[].id": {trusted: object}
      "[].from": {trusted: destination, clearance: internal}
      "[].body": {confidentiality: secret}
      "[].who": {named: true}
"""


def parsed(folder: Path, text: str) -> Policy:
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(text)
    return parse(read(folder), fault)


def weaker(folder: Path, old: str, new: str) -> tuple[str, ...]:
    """What of the policy is weaker when ``old`` in its text becomes ``new``."""
    assert old in POLICY
    found = growth(parsed(folder / "o", POLICY), parsed(folder / "n", POLICY.replace(old, new)))
    return found[0].weaker if found else ()


def without(name: str) -> tuple[str, str]:
    """The policy's text from one top-level key to the next, and nothing."""
    start = POLICY.index(f"\n{name}:") + 1
    return POLICY[start : POLICY.index("\ntools:") + 1], ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (*without("containment"), "containment is gone"),
        ("destination: deny", "destination: hold", "destination: deny -> hold"),
        ("destination: deny", "", "destination: deny -> hold"),
        ("link: {external: deny}", "link: {external: allow}", "link (external): deny -> allow"),
        (
            "link: {external: deny}",
            "link: {external: deny, delete: hold}",
            "link (delete): deny -> hold",
        ),
        ("destination: deny", "destination: deny\n  amount: allow", "amount: hold -> allow"),
        (", [link]]", "]", "never [link] is gone"),
        ("approvals: 5", "approvals: 6", "approvals 5 -> 6"),
        ("approvals: 5", "", "approvals 5 -> no limit"),
        ("risk: external\n", "risk: modify\n", "risk of mail.send: external -> modify"),
        (
            "raise: [{when: {cc: present, body: present}, risk: delete}]",
            "",
            "raise of mail.send to delete by cc, body is gone",
        ),
        ("body: present}, risk: delete", "body: present}, risk: external", "raise of mail.send"),
        (", max_length: 100", "", "bound max_length of mail.send.body is gone"),
        ("max_length: 100", "max_length: 101", "bound max_length of mail.send.body is wider"),
        ("enum: [a, b]", "enum: [a, b, c]", "bound enum of mail.send.kind is wider"),
        ("enum: [a, b]", "equals: c", "bound enum of mail.send.kind is gone"),
        ("prefix: docs/", "prefix: do", "bound prefix of mail.send.folder is wider"),
        ("minimum: 1", "minimum: 0", "bound minimum of mail.send.count is wider"),
        ("maximum: 9", "maximum: 10", "bound maximum of mail.send.count is wider"),
        ("equals: mail.example", "equals: evil.example", "bound equals of mail.send.host is wider"),
        ("equals: session.user", "equals: ada", "bound equals of mail.send.owner is wider"),
        (", required: true", "", "bound required of mail.send.why is gone"),
        ("schema: {type: string}", "schema: {}", "schema of mail.send.host is another"),
        ("cc: {role", "cc: {tolerate: [ssrf], role", "mail.send.cc tolerates ssrf"),
        ("to: {role: destination}", "to: {role: payload}", "role of mail.send.to: destination"),
        (
            "to: {role: destination}",
            "to: {role: destination}\n      bcc: {role: selector}",
            "mail.send.bcc is known: selector",
        ),
        (", carries: true", "", "mail.send.cc carries nothing"),
        (
            "answers: {sure: {role: destination}}",
            "answers: {sure: {role: selector}}",
            "role of mail.send (answer).sure: destination -> selector",
        ),
        ("intent: [send, mail]", "intent: [send, mail, do]", "intent of mail.send goes by send"),
        ("    intent: [send, mail]\n", "", "intent of mail.send goes by its name"),
        ("intent: [send, mail]", "intent: [settle]", "intent of mail.send goes by settle"),
        ("named: true}", "named: true, clearance: secret}", "[].who: internal -> secret"),
        ("body: {role: payload", "body: {role: object", "role of mail.send.body: payload"),
        ("kind: {role: selector", "kind: {role: destination", "role of mail.send.kind: selector"),
        ("      to: {role: destination}\n", "", "mail.send.to is known no more"),
        ('[].id": {trusted: object}', '[].id": {trusted: [object, amount]}', "trusted as amount"),
        ("clearance: internal", "clearance: secret", "internal -> secret"),
        ("confidentiality: secret", "confidentiality: public", "secret -> public"),
        ('      "[].body": {confidentiality: secret}\n', "", "secret -> internal"),
        ("confidentiality: secret", "confidentiality: secret, links: true", "may be read"),
        ("confidentiality: secret", "confidentiality: secret, named: true", "bear a name"),
        ("intent: [send, mail]", "intent: [send, mail]\n    sends: arguments", "sends nothing but"),
        (
            "to: {role: destination}",
            "to: {role: destination, lookup: {tool: mail.find, query: query}}",
            "mail.send.to has another lookup",
        ),
    ],
)  # fmt: skip
def test_what_holds_an_agent_back_less_is_named(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    found = weaker(tmp_path, old, new)
    assert len([one for one in found if said in one]) == 1, found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("destination: deny", "destination: deny\n  amount: deny"),
        (", [link]]", ", [link], [amount]]"),
        ("never: [[intent, destination], [link]]", "never: [[intent], [link]]"),
        ("never: [[intent, destination], [link]]", "never: [[link]]"),  # destination is denied
        ("approvals: 5", "approvals: 4"),
        ("max_length: 100", "max_length: 99"),
        ("max_length: 100", "enum: [short]"),
        ("max_length: 100", "equals: short"),
        ("enum: [a, b]", "equals: b"),
        ("enum: [a, b]", "enum: [a]"),
        ("prefix: docs/", "prefix: docs/new/"),
        ("prefix: docs/", "enum: [docs/a, docs/b]"),
        ("minimum: 1, maximum: 9", "minimum: 2, maximum: 8"),
        ("minimum: 1, maximum: 9", "equals: 3"),
        ("required: true", "equals: x"),
        ("cc: present, body: present", "cc: present"),
        ("intent: [send, mail]", "intent: [mail, send]"),
        ("intent: [send, mail]", "intent: [send]"),
        ("trusted: object", "confidentiality: secret"),
    ],
)
def test_what_is_at_least_as_strict_is_no_news(tmp_path: Path, old: str, new: str) -> None:
    assert weaker(tmp_path, old, new) == ()


def test_a_tool_that_the_catalogue_lists_no_more_has_lost_its_bounds(tmp_path: Path) -> None:
    text = POLICY.replace("permissions: [{write: mail}, {read: mail}]", "allowed_tools: [x.y]")
    listed = f"{text}  x.y: {{risk: read, arguments: {{a: {{enum: [b]}}}}}}\n"
    (found,) = growth(parsed(tmp_path / "o", listed), parsed(tmp_path / "n", text))
    assert "bound enum of x.y.a is gone" in found.weaker
    (found,) = growth(parsed(tmp_path / "o", text), parsed(tmp_path / "n", listed))
    assert found.weaker == ("risk of x.y: delete -> read", "the catalogue knows x.y")


def test_an_agent_in_another_role_is_compared_by_what_it_may_now(tmp_path: Path) -> None:
    free = "  free: {permissions: [{write: mail}], containment: {destination: allow}}\n"
    old = POLICY.replace("containment:", f"{free}containment:", 1)
    moved = old.replace("helper: {role: helper", "helper: {role: free")
    (found,) = growth(parsed(tmp_path / "o", old), parsed(tmp_path / "n", moved))
    assert "destination: deny -> allow" in found.weaker
    assert (found.agent, found.tools) == ("helper", ())


def test_the_command_names_each_gain_and_fails_the_build(tmp_path: Path) -> None:
    parsed(tmp_path / "o", POLICY)
    changed = POLICY.replace("models: [gpt-small]", "models: [gpt-small, gpt-large]")
    changed = changed.replace("crm.notes://1", "crm.notes://*").replace("approvals: 5", "")
    changed = changed.replace(
        "    models:", "    provider_features: [openai.web_search]\n    models:"
    )
    parsed(tmp_path / "n", changed)
    words = ["reach", str(tmp_path / "n"), "--against", str(tmp_path / "o"), "--fail-on", "new"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 5
    told = done.stdout.splitlines()[-4:]
    assert told == [
        "new for helper: feature openai.web_search",
        "new for helper: model gpt-large",
        "new for helper: resource crm.notes://*",
        "new for helper: weaker: approvals 5 -> no limit",
    ]
    done = CliRunner().invoke(app, [*words, "--json"])
    new = json.loads(done.stdout.splitlines()[-1])
    assert new["others"] == [one.removeprefix("new for helper: ") for one in told[:3]]
    assert new["weaker"] == ["approvals 5 -> no limit"]


def test_a_memory_that_nobody_writes_any_more_is_named(tmp_path: Path) -> None:
    text = POLICY.replace("    risk: read\n", "    risk: read\n    memory: {store: /box}\n")
    memory = "    memory: {store: /box, writes: true}\n"
    writes = text.replace("  mail.send:\n", f"  mail.send:\n{memory}")
    (found,) = growth(parsed(tmp_path / "o", writes), parsed(tmp_path / "n", text))
    assert found.weaker == (
        "no tool writes the memory of mail.find",
        "memory of mail.send is another",
    )
    assert growth(parsed(tmp_path / "o", text), parsed(tmp_path / "n", writes)) == ()
