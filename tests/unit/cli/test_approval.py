"""What an operator without a browser sees and says, while no gate runs."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import GATE, audit_directory, local_operator
from portcullis.cli import approval, exit_code
from portcullis.core.approval import State, Verb
from portcullis.core.errors import Problem
from waiting import deployed


@pytest.fixture
def deployment(tmp_path):
    """A deployment in which a call waits; ``run`` the commands, ``ask`` for one more."""
    made = deployed(tmp_path)

    def run(*words):
        done = CliRunner().invoke(approval.app, [*words, "--config", str(made.file)])
        if isinstance(done.exception, Problem):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done

    def ask(approval_id, **changes):
        made.ask(approval_id, changes)

    ask("a1")
    yield SimpleNamespace(run=run, ask=ask, store=made.store, config=made.config)
    made.close()


def logged(deployment):
    place = audit_directory(deployment.config, GATE)
    return [
        (one.event.method, one.event.approval or one.event.name, one.event.verdict)
        for one in records(place, own_verifier(place))
        if one.event.method.startswith("approval.")
    ]


def test_what_waits_is_listed_shown_and_approved_and_all_of_it_is_on_record(deployment):
    assert deployment.run("list").stdout.split()[:4] == ["a1", "pending", "external", "shop-1"]
    said = deployment.run("show", "a1").stdout
    assert "held because no source: destination" in said
    assert "question     Is this account the user's?" in said
    assert '"DE1 \\u202e\\u001b[2J"' in said
    assert "shop-1 for boss" in said
    assert "Pay the bill" in said
    assert '"maximum", "value": 7' in said
    assert "tools/call bank.list (read): allow" in said
    assert json.loads(deployment.run("list", "--all", "--json").stdout)["waiting"] == 1
    done = json.loads(deployment.run("approve", "a1", "--reason", "she said so", "--json").stdout)
    assert (done["state"], done["decided_by"]) == ("approved", local_operator())
    assert deployment.run("list").stdout == ""
    after = deployment.run("show", "a1")
    assert "the call itself is not kept" in after.stderr
    assert [
        one["id"]
        for one in json.loads(deployment.run("list", "--all", "--json").stdout)["approvals"]
    ] == ["a1"]
    assert logged(deployment) == [
        ("approval.read", "a1", "allow"),
        ("approval.approved", "a1", "allow"),
    ]


def test_a_request_to_a_model_is_shown_as_it_would_be_sent(deployment):
    deployment.ask("b2", arguments={}, request={"messages": ["hello"]}, grant=None)
    said = deployment.run("show", "b2").stdout
    assert '{"messages": ["hello"]}' in said
    assert "any tool" in said


def test_an_agent_of_which_too_much_was_denied_is_frozen_and_lifted(deployment):
    deployment.ask("b2")
    for one in ("a1", "b2"):
        assert "denied" in deployment.run("deny", one, "--reason", "never").stderr
    assert "shop-1 may not ask" in deployment.run("list").stderr
    lifted = deployment.run("lift", "shop-1", "--reason", "looked into it", "--json")
    assert json.loads(lifted.stdout)["state"] == "lifted"
    assert deployment.store.frozen() == ()
    with pytest.raises(Problem) as caught:
        deployment.run("lift", "shop-1", "--reason", "again")
    assert caught.value.code == "PC3042"
    assert logged(deployment)[2:] == [
        ("approval.frozen", "agent:shop-1", "allow"),
        ("approval.lifted", "agent:shop-1", "allow"),
        ("approval.lifted", "agent:shop-1", "deny"),
    ]


@pytest.mark.parametrize("verb", ["approve", "deny", "show"])
def test_what_is_not_there_or_settled_is_said_and_recorded(deployment, verb):
    more = () if verb == "show" else ("--reason", "why")
    with pytest.raises(Problem) as caught:
        deployment.run(verb, "zz", *more)
    assert (caught.value.code, exit_code(caught.value)) == ("PC3047", 1)
    if verb != "show":
        deployment.store.move("a1", Verb.EXPIRE, now=2000.0)
        with pytest.raises(Problem) as caught:
            deployment.run(verb, "a1", *more)
        assert caught.value.code == "PC3042"
    with pytest.raises(Problem) as caught:
        deployment.run(verb, "../a1", *more)
    assert caught.value.code == "PC7004"


def test_nobody_approves_on_this_machine_what_he_asked_for_himself(deployment):
    deployment.ask("b2", user=local_operator().removeprefix("local-"))
    with pytest.raises(Problem) as caught:
        deployment.run("approve", "b2", "--reason", "mine")
    assert (caught.value.code, exit_code(caught.value)) == ("PC3046", 3)
    assert deployment.store.get("b2").state is State.PENDING


def test_a_call_that_waits_has_an_exit_code_of_its_own():
    assert exit_code(Problem("PC3040", "waits")) == 4
