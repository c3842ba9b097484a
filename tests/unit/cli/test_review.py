"""What an operator without a browser sees and says of calls afterwards, while no gate runs."""

import json
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from databases import new_database
from exported import event
from portcullis.audit.log import open_log
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import GATE, audit_directory, local_operator
from portcullis.bootstrap.keys import keys_of
from portcullis.cli import exit_code, review
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.identity.sealing import Envelope

FIRST, SECOND = f"{1:032x}", f"{2:032x}"


@pytest.fixture
def deployment(tmp_path):
    """A deployment whose logs flag two calls, one of them in the log of a wrapped server."""
    file = tmp_path / "portcullis.yaml"
    file.write_text(yaml.safe_dump({"trust_domain": "example.test", "state": "state"}))
    config = load(file)
    new_database(config.state / "portcullis.db").dispose()
    sealer = Envelope(keys_of(config, create=True))

    def write(name, *events):
        place, keys = audit_directory(config, name), config.state / "keys" / name
        with open_log(place, keys, f"example.test/{name}", sealer=sealer) as log:
            for one in events:
                log.append_now(one)

    hidden = {"arguments.to": "hmac-sha256:03"}
    rows = {"id": "C-1 \u202e\x1b[2J"}
    write(GATE, event(1, risk="delete", review=True, parameters=rows, commitments=hidden))
    write("mcp-mail", event(2, risk="external", review=True, principal="agent-2"), event(3))

    def run(*words):
        done = CliRunner().invoke(review.app, [*words, "--config", str(file)])
        if isinstance(done.exception, Problem):
            raise done.exception
        assert done.exit_code == 0, (done.output, done.exception)
        return done

    return SimpleNamespace(run=run, config=config)


def listed(deployment, *words):
    lines = deployment.run("list", "--json", *words).stdout.splitlines()
    return [json.loads(line)["id"] for line in lines]


def logged(deployment):
    place = audit_directory(deployment.config)
    found = (one.event for one in records(place, own_verifier(place)))
    return [(one.method, one.verdict) for one in found if one.method.startswith("review.")]


def test_what_passed_is_listed_shown_closed_and_opened_again_and_all_of_it_is_on_record(deployment):
    assert listed(deployment) == [FIRST, SECOND]
    assert listed(deployment, "--risk", "external") == [SECOND]
    assert listed(deployment, "--agent", "agent-1") == [FIRST]
    shown = deployment.run("show", FIRST)
    assert '"C-1 \\u202e\\u001b[2J"' in shown.stdout
    assert "not kept     to" in shown.stdout
    assert "no content of this call is kept" in shown.stderr
    why = ("--disposition", "misuse", "--reason", "not his to delete")
    done = json.loads(deployment.run("close", FIRST, *why, "--json").stdout)
    assert (done["state"], done["decided_by"]) == ("closed", local_operator())
    assert listed(deployment) == [SECOND]
    row = deployment.run("list", "--all").stdout.splitlines()[0]
    assert row.split()[:3] == [FIRST, "misuse", "delete"]
    assert row.endswith("not his to delete")
    assert "open" in deployment.run("reopen", FIRST, "--reason", "somebody knows more").stderr
    assert listed(deployment, "--open") == [FIRST, SECOND]
    assert logged(deployment) == [
        ("review.read", "allow"),
        ("review.closed", "allow"),
        ("review.reopened", "allow"),
    ]


def test_what_is_not_there_or_not_closed_is_said_and_recorded(deployment):
    assert listed(deployment) == [FIRST, SECOND]
    for words, code in (
        (("show", "ff"), "PC3048"),
        (("reopen", FIRST, "--reason", "why"), "PC3049"),
        (("show", "../1"), "PC7004"),
    ):
        with pytest.raises(Problem) as caught:
            deployment.run(*words)
        assert caught.value.code == code
    assert exit_code(Problem("PC3048", "")) == exit_code(Problem("PC3049", "")) == 1
    assert logged(deployment) == [("review.read", "deny"), ("review.reopened", "deny")]
