import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import GATE, audit_directory
from portcullis.catalogue.definition import digest
from portcullis.cli import catalogue
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.inspection_ports import Pin, Sighting
from portcullis.store.engine import open_sqlite
from portcullis.store.pins import SqlPins

OLD = json.dumps({"description": "Reads.", "name": "read"})
NEW = json.dumps({"description": "Reads. \u202eevil \x1b[2J", "name": "read"})


@pytest.fixture
def deployment(tmp_path):
    """A deployment with one pinned, one changed and one suspect tool; ``run`` the commands."""
    file = tmp_path / "portcullis.yaml"
    file.write_text(f"trust_domain: example.test\nstate: {tmp_path / 'state'}\n")
    engine = open_sqlite(tmp_path / "state" / "portcullis.db")
    pins = SqlPins(engine)
    old = {"server": "crm", "definition": OLD, "digest": digest(OLD), "pinned_at": 1.5}
    new = {"server": "crm", "definition": NEW, "digest": digest(NEW), "seen_at": 2.5}
    pins.add([Pin(tool="read", **old), Pin(tool="write", **old)])
    pins.saw([Sighting(tool="read", **new), Sighting(tool="new", reasons=("override",), **new)])

    def run(*words):
        done = CliRunner().invoke(catalogue.app, [*words, "--config", str(file)])
        if isinstance(done.exception, Problem):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done

    yield SimpleNamespace(run=run, config=load(file), pins=pins)
    engine.dispose()


def approvals(deployment):
    place = audit_directory(deployment.config, GATE)
    return [
        (r.event.name, r.event.principal, r.event.parameters["digest"])
        for r in records(place, own_verifier(place))
        if r.event.method == "catalogue.pin" and r.event.verdict == "allow"
    ]


def test_each_tool_is_listed_with_its_state(deployment):
    lines = deployment.run("list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["suspect", "crm.new"],
        ["changed", "crm.read"],
        ["pinned", "crm.write"],
    ]
    assert "first sight" in lines[2]
    assert "override" in lines[0]
    tools = json.loads(deployment.run("list", "--server", "crm", "--json").stdout)["tools"]
    assert [tool["state"] for tool in tools] == ["suspect", "changed", "pinned"]
    assert deployment.run("list", "--server", "other").stdout == ""


def test_a_diff_shows_what_changed_and_lets_nothing_of_it_act_on_the_terminal(deployment):
    done = deployment.run("diff", "read")
    assert '-  "description": "Reads.",' in done.stdout
    assert '+  "description": "Reads. \\u202eevil \\u001b[2J",' in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "servers' own text" in done.stderr
    assert "crm.write" not in deployment.run("diff").stdout
    assert '"Reads."' in deployment.run("diff", "write").stdout
    with pytest.raises(Problem, match="PC7017"):
        deployment.run("diff", "unknown")


def test_nothing_is_approved_unless_it_is_said_and_then_what_was_shown(deployment):
    with pytest.raises(Problem, match=r"PC7004.*nothing was approved"):
        deployment.run("pin", "--server", "crm")
    assert approvals(deployment) == []
    done = deployment.run("pin", "--server", "crm", "read", "--yes")
    assert "evil" in done.stdout
    ((name, principal, approved),) = approvals(deployment)
    assert (name, approved) == ("crm.read", digest(NEW))
    assert principal.startswith("local-")
    states = {tool.tool: tool.approved_by for tool in deployment.pins.all()}
    assert states == {"read": principal, "write": ""}


def test_one_tool_is_approved_by_its_digest(deployment):
    with pytest.raises(Problem, match="PC7016"):
        deployment.run("pin", "--server", "crm", "new", "--digest", digest(OLD))
    with pytest.raises(Problem, match="PC7004"):
        deployment.run("pin", "--server", "crm", "--digest", digest(NEW))
    deployment.run("pin", "--server", "crm", "new", "--digest", digest(NEW), "--json")
    deployment.run("pin", "--server", "crm", "--yes")
    assert {name for name, *_ in approvals(deployment)} == {"crm.new", "crm.read"}
    assert "every tool is as it is pinned" in deployment.run("diff").stderr
