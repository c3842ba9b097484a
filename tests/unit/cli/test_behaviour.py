"""What an operator without a browser sees of how agents behave, and says, while no gate runs."""

import json
from types import SimpleNamespace

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from databases import new_database
from exported import event
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import audit_directory, local_operator
from portcullis.bootstrap.keys import keys_of
from portcullis.cli import behaviour
from portcullis.config import load
from portcullis.core.behaviour import Kind, Thresholds
from portcullis.core.errors import Problem
from portcullis.oversight.behaviour.learner import Bounds, Learner
from portcullis.store.behaviour import SqlBehaviour


@pytest.fixture
def deployment(tmp_path):
    """A deployment in which two agents were seen; one was refused more often than is tolerated."""
    file = tmp_path / "portcullis.yaml"
    said = {"trust_domain": "example.test", "state": "state", "behaviour": {"learn_days": 1}}
    file.write_text(yaml.safe_dump(said))
    config = load(file)
    engine = new_database(config.state / "portcullis.db")
    keys_of(config, create=True)
    learner = Learner(Thresholds(), {}.get, Bounds(refusals=1))
    for number in range(1, 7):
        one = msgspec.structs.replace(event(number), principal_kind="agent", server="db\x1b[2J")
        learner.observe(one)
        learner.observe(
            msgspec.structs.replace(one, principal="agent-2", verdict="deny", code="PC3001")
        )
    pairs = {name: (learner.standing(one), one) for name, one in learner.profiles.items()}
    SqlBehaviour(engine).keep_all(pairs, {})
    engine.dispose()

    def run(*words):
        done = CliRunner().invoke(behaviour.app, [*words, "--config", str(file)])
        if isinstance(done.exception, Problem):
            raise done.exception
        assert done.exit_code == 0, (done.output, done.exception)
        return done

    return SimpleNamespace(run=run, config=config)


def logged(deployment):
    place = audit_directory(deployment.config)
    found = (one.event for one in records(place, own_verifier(place)))
    return [(one.method, one.name, one.verdict, one.code) for one in found if one.name]


def test_how_agents_behave_is_listed_shown_and_explained(deployment):
    rows = [json.loads(row) for row in deployment.run("list", "--json").stdout.splitlines()]
    assert [(one["agent"], one["phase"]) for one in rows] == [
        ("agent-1", "learning"),
        ("agent-2", "learning"),
    ]
    assert rows[1]["reasons"][0]["kind"] == Kind.BOUND.value
    assert deployment.run("list").stdout.count("agent-") == 2
    shown = deployment.run("show", "agent-1").stdout
    assert "tools: db" in shown
    assert "\x1b" not in shown, "what an agent wrote does not reach the terminal as it is"
    found = json.loads(deployment.run("show", "agent-1", "--json").stdout)
    assert found["standing"]["agent"] == "agent-1"
    assert "refusals in an hour: 5 (usual: at most 1" in deployment.run("explain", "agent-2").stdout
    assert "nothing about it is unusual" in deployment.run("explain", "agent-1").stderr


def test_what_an_operator_says_is_on_record_and_so_is_what_he_may_not(deployment):
    why = ("--reason", "with its owner")
    done = json.loads(deployment.run("ratify", "agent-1", *why, "--json").stdout)
    assert (done["phase"], done["by"], done["why"]) == (
        *("ratified", local_operator()),
        "with its owner",
    )
    with pytest.raises(Problem, match="PC3091"):
        deployment.run("ratify", "agent-1", *why)
    with pytest.raises(Problem, match="PC3090"):
        deployment.run("show", "agent-3")
    assert "learning: agent-2" in deployment.run("reset", "agent-2", *why).stderr
    assert json.loads(deployment.run("list", "--json").stdout.splitlines()[1])["score"] == 0
    assert logged(deployment) == [
        ("behaviour.ratify", "agent-1", "allow", ""),
        ("behaviour.ratify", "agent-1", "deny", "PC3091"),
        ("behaviour.show", "agent-3", "deny", "PC3090"),
        ("behaviour.reset", "agent-2", "allow", ""),
    ]
