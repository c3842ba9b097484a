"""What agents can do with all they are granted together, seen before anybody tries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portcullis.catalogue.schema import fault
from portcullis.cli.policy import app
from portcullis.core.errors import Problem
from portcullis.policy.grammar import parse
from portcullis.policy.model import Policy
from portcullis.policy.source import read
from portcullis.review.growth import Growth, growth
from portcullis.review.reach import Ladder, Reach, reach

TOOLS = """
  mail.read:
    resource: mail
    verb: read
    risk: read
    results: {"[].body": {confidentiality: confidential}}
  mail.send:
    resource: mail
    verb: write
    risk: external
    arguments: {to: {role: destination}, body: {role: payload}}
  web.get:
    resource: web
    verb: read
    risk: read
    arguments: {url: {role: destination, carries: true}}
    results: {"": {confidentiality: public}}
  people.find:
    resource: people
    verb: read
    risk: read
    arguments: {name: {role: selector}}
    results: {"": {trusted: destination}}
  people.add:
    resource: people
    verb: write
    risk: modify
    arguments: {email: {role: payload}}
  calendar.add:
    resource: calendar
    verb: write
    risk: modify
    raise: [{when: {guests: present}, risk: external}]
    arguments: {guests: {role: destination}, title: {role: payload}}
  old.tool: {resource: old, verb: read, risk: read}
"""


def policy(folder: Path, *permissions: str, more: str = "", tools: str = TOOLS) -> Policy:
    folder.mkdir(exist_ok=True)
    listed = ", ".join(f"{{{one}}}" for one in permissions)
    text = f"""version: 1
agents: {{helper: {{role: helper, owner: team}}}}
roles:
  helper:
    permissions: [{listed}]
{more}
tools:{tools}"""
    (folder / "policy.yaml").write_text(text)
    return parse(read(folder), fault)


def of(found: tuple[Reach, ...]) -> Reach:
    (one,) = found
    return one


def test_the_three_come_together_only_with_something_private_and_a_way_out(tmp_path: Path) -> None:
    reader = of(reach(policy(tmp_path, "read: mail")))
    assert (reader.private, reader.outside, reader.trifecta) == (("mail.read",), (), False)
    assert reader.untrusted == ("mail.read",)
    sender = of(reach(policy(tmp_path, "write: mail", "read: people")))
    assert (sender.private, sender.outside, sender.trifecta) == ((), ("mail.send",), False)
    both = of(reach(policy(tmp_path, "read: mail", "write: mail")))
    assert both.trifecta


def test_a_page_that_is_fetched_is_a_way_out(tmp_path: Path) -> None:
    assert of(reach(policy(tmp_path, "read: mail", "read: web"))).trifecta


def test_an_effect_that_only_some_arguments_make_counts(tmp_path: Path) -> None:
    found = of(reach(policy(tmp_path, "write: calendar")))
    assert found.outside == ("calendar.add",)


def test_a_tool_that_nobody_described_counts_as_everything(tmp_path: Path) -> None:
    found = of(reach(policy(tmp_path, "read: old", more="    allowed_tools: [x.y]")))
    assert found.undescribed == ("old.tool", "x.y")
    assert found.trifecta


def test_what_is_denied_is_not_reached(tmp_path: Path) -> None:
    denied = "    denied_tools: [mail.send]"
    tools = f"{TOOLS}  mail.draft: {{resource: mail, verb: write, risk: modify, intent: [draft]}}\n"
    both = ("read: mail", "write: mail")
    found = of(reach(policy(tmp_path, *both, more=denied, tools=tools)))
    assert found.tools == ("mail.draft", "mail.read")
    assert found.outside == found.undescribed == ("mail.draft",)
    everything = "    denied_tools: ['old.*']\n    allowed_tools: [mail.read]"
    assert of(reach(policy(tmp_path, more=everything))).tools == ("mail.read",)


def test_what_is_no_tool_counts_too(tmp_path: Path) -> None:
    more = """
    allowed_resources: ["crm.notes://*"]
    allowed_prompts: [crm.summary]
    models: [gpt-*]
    server_requests: [crm.elicitation/create]"""
    found = of(reach(policy(tmp_path, more=more)))
    assert found.private == ("prompt crm.summary", "resource crm.notes://*")
    assert set(found.untrusted) == {*found.private, "request crm.elicitation/create"}
    assert found.outside == ("request crm.elicitation/create",)
    assert found.trifecta
    assert "model gpt-*" in found.others
    searching = of(reach(policy(tmp_path, more="    provider_features: [openai.web_search]")))
    assert searching.private == searching.untrusted == searching.outside == searching.others
    assert searching.trifecta
    assert not of(reach(policy(tmp_path, more="    models: [gpt-*]"))).trifecta


def test_a_directory_that_the_agent_may_write_is_a_ladder_to_every_address(tmp_path: Path) -> None:
    found = of(reach(policy(tmp_path, "read: people", "write: people", "write: mail")))
    assert found.ladders == (
        Ladder(
            writes="people.add",
            reads="people.find",
            role="destination",
            acts="mail.send",
            risk="external",
        ),
    )
    without = of(reach(policy(tmp_path, "read: people", "write: mail")))
    assert without.ladders == ()


def test_a_change_says_what_it_newly_allows(tmp_path: Path) -> None:
    old = policy(tmp_path / "old", "read: mail", "read: people")
    raised = TOOLS.replace(
        "verb: read\n    risk: read\n    results", "verb: read\n    risk: modify\n    results"
    )
    new = policy(tmp_path / "new", "read: mail", "read: people", "write: mail", tools=raised)
    gained = Growth(agent="helper", tools=("mail.send",), raised=("mail.read",), trifecta=True)
    assert growth(old, new) == (gained,)
    assert growth(new, new) == ()
    (back,) = growth(new, old)
    assert back == Growth(agent="helper", weaker=("risk of mail.read: modify -> read",))


def run(*words: object) -> tuple[int, list[dict[str, object]]]:
    done = CliRunner().invoke(app, ["reach", *map(str, words), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_command_fails_a_build_for_what_it_is_told_to(tmp_path: Path) -> None:
    policy(tmp_path / "old", "read: mail")
    policy(tmp_path / "new", "read: mail", "write: mail", "read: people", "write: people")
    code, (found,) = run(tmp_path / "new")
    assert (code, found["trifecta"], found["agent"]) == (0, True, "helper")
    for word in ("trifecta", "ladder"):
        assert run(tmp_path / "new", "--fail-on", word)[0] == 5
        assert run(tmp_path / "old", "--fail-on", word)[0] == 0
    code, lines = run(tmp_path / "new", "--against", tmp_path / "old", "--fail-on", "new")
    assert code == 5
    assert lines[-1]["tools"] == ["mail.send", "people.add", "people.find"]
    same = (tmp_path / "new", "--against", tmp_path / "new", "--fail-on", "new")
    assert run(*same)[0] == 0
    shown = CliRunner().invoke(app, ["reach", str(tmp_path / "new")]).stdout
    assert "helper (helper): TRIFECTA" in shown
    assert "people.add -> people.find (trusted destination) -> mail.send (external)" in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--fail-on", "new"), "PC7004"),
        (("--fail-on", "nothing"), "PC7004"),
        (("--agent", "nobody"), "PC2007"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(tmp_path: Path, words, code) -> None:
    policy(tmp_path / "p", "read: mail")
    with pytest.raises(Problem, match=code):
        run(tmp_path / "p", *words)
