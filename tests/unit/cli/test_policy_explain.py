"""If these fail, whoever asks why is told something else than what was decided."""

import json

import pytest
from typer.testing import CliRunner

from policies import write
from portcullis.cli.policy import app

POLICY = """\
version: 1
windows: {never: {days: [mon], from: "00:00", to: "00:01", zone: UTC}}
agents: {bot: {role: support, owner: t}, old: {role: support, owner: t, expires: "2020-01-01"}}
roles:
  base:
    permissions: [{read: orders}]
    denied_tools: [crm.delete]
    allowed_resources: ["files.memo://one"]
  support:
    inherits: [base]
    models: [gpt-*]
    allowed_tools:
      - {tool: kb.b, when: "arguments.x > 3", environments: [production]}
    egress: [{host: api.x.example}]
tools:
  orders.search:
    resource: orders
    verb: read
    risk: read
    arguments: {limit: {maximum: 10}}
"""
REGO = """\
package portcullis.custom.night

import rego.v1

deny contains {"reason": "not at night"} if input.name == "search"
"""
SEARCH = {"agent": "bot", "tool": "orders.search"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("explain") / "policy", POLICY)


def asked(folder, question, *options):
    arguments = ["decide", "--dir", str(folder), "--explain", *options]
    return CliRunner().invoke(app, arguments, input=json.dumps(question))


def test_an_allow_names_whose_grant_it_is_and_where_it_stands(folder):
    said = asked(folder, SEARCH | {"arguments": {"limit": 3}})
    assert said.exit_code == 0
    assert (
        "yes  the role grants orders.search (inherited from base)  "
        "[roles.base.permissions[0] read:orders @ " in said.stdout
    )
    assert "to change it" not in said.stdout


@pytest.mark.parametrize(
    ("question", "last"),
    [
        (SEARCH | {"arguments": {"limit": 11}}, "no   the arguments are within their bounds"),
        ({"agent": "bot", "tool": "crm.delete"}, "no   the role denies crm.delete nowhere"),
        ({"agent": "bot", "tool": "kb.b", "arguments": {"x": 1}}, "no   the role grants kb.b"),
        ({"agent": "old", "tool": "kb.b"}, "no   the agent has not expired"),
        ({"agent": "nobody", "tool": "kb.b"}, "no   the policy names the agent nobody"),
        ({"agent": "bot", "model": "other"}, "no   the role lists the model"),
        ({"agent": "bot", "egress": "api.x.example:80"}, "no   at this port"),
        ({"agent": "bot", "egress": "y.example:443"}, "no   the role may reach this host"),
        ({"agent": "bot", "resource": "files.memo://two"}, "no   the role grants it"),
        (
            SEARCH | {"session": {"grant": ["kb.b"]}},
            "no   the session's task declared the tool",
        ),
    ],
    ids=lambda one: one[5:] if isinstance(one, str) else "",
)
def test_a_denial_ends_with_what_did_not_hold_and_what_to_change(folder, question, last):
    said = asked(folder, question)
    assert said.exit_code == 3
    lines = said.stdout.splitlines()
    assert lines[-2].startswith(last), said.stdout
    assert lines[-1].startswith("to change it: ")


def test_each_term_of_a_grant_is_told(folder):
    said = asked(folder, {"agent": "bot", "tool": "kb.b", "arguments": {"x": 1}}).stdout
    assert (
        "        yes  in this environment  [roles.support.allowed_tools[0].environments @" in said
    )
    assert "        no   on its condition  [roles.support.allowed_tools[0].when @ " in said


def test_json_has_the_same_steps(folder):
    question = SEARCH | {"arguments": {"limit": 11}}
    said = json.loads(asked(folder, question, "--json").stdout)
    assert (said["verdict"], said["code"]) == ("deny", "PC3012")
    assert said["steps"][-1]["held"] is False
    assert said["steps"][-1]["rule"] == said["rule"]
    assert said["change"]


def test_a_hand_written_denial_is_named(tmp_path):
    folder = write(tmp_path / "policy", POLICY)
    (folder / "night.rego").write_text(REGO, encoding="utf-8")
    said = asked(folder, SEARCH).stdout
    assert "no   no hand-written rule denies it  [custom.night" in said
