"""What the command line says when something is wrong, and what survives."""

import json
import os
import signal
import subprocess

import pytest

from e2e.control.led import COMMAND, ask, eventually, running


def test_a_session_and_a_suspended_principal_survive_the_death_of_the_gate(deployment):
    with running(deployment, stop=signal.SIGKILL):
        agent = deployment.create("agent", "shop-1")
        deployment.create("application", "web")
        opened = deployment.json(
            *("session", "open", "shop-1", "--application", "web", "--user", "u", "--prompt", "p")
        )
        deployment.run("agent", "suspend", "shop-1")
    assert (deployment.state / "gate.json").exists()
    deployment.create("agent", "shop-2")  # who died does not lock its owner out
    with running(deployment) as gate:
        words = (opened["session"], "--application", "web")
        assert deployment.json("session", "show", *words)["session"] == opened["session"]
        models = f"{gate['gate']}/openai/v1/chat/completions"
        body = {"model": "none", "messages": [{"role": "user", "content": "hello"}]}
        assert ask(models, agent["token"], body)[1]["error"]["code"] == "PC4001"


def test_a_gate_file_left_behind_by_a_reused_process_number_says_what_to_do(deployment):
    deployment.state.mkdir(mode=0o700)
    left = {"control": "http://127.0.0.1:1", "gate": "http://127.0.0.1:1", "pid": os.getpid()}
    (deployment.state / "gate.json").write_text(json.dumps(left))
    done = deployment.run("agent", "list", code=1)
    assert "PC7005" in done.err
    assert "remove gate.json" in done.err


def test_a_session_needs_a_gate(deployment):
    done = deployment.run("session", "show", "abc", "--application", "web", code=1)
    assert "PC7005" in done.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("agent", "create", "Shop", "--owner", "x", "--purpose", "y"), "PC7004"),
        (("agent", "create", "../x", "--owner", "x", "--purpose", "y"), "PC7004"),
        (("agent", "create", "shop-1", "--owner", "", "--purpose", "y"), "PC7004"),
        (("agent", "create", "shop-1", "--owner", "x", "--purpose", ""), "PC7004"),
        (("agent", "unregister", "../x"), "PC7004"),
        (("credential", "revoke", "../x"), "PC7004"),
        (("operator", "add", "vic", "--owner", "x", "--role", "root"), "PC7004"),
        (("operator", "add", "vic", "--owner", "x", "--role", "viewer"), "PC7004"),
    ],
)
def test_a_bad_word_is_a_usage_error_with_a_hint(deployment, words, text):
    done = deployment.run(*words, code=2)
    assert done.out == ""
    assert text in done.err
    assert "hint: " in done.err


def test_the_first_agent_is_registered_while_its_gate_is_still_starting(deployment):
    with subprocess.Popen(
        [COMMAND, "up"], cwd=deployment.folder, stderr=subprocess.PIPE, text=True
    ) as gate:
        try:
            deployment.create("agent", "shop-1")
            deployment.create("agent", "shop-2")
            place = deployment.state / "gate.json"
            assert eventually(place.exists), gate.stderr.read()
            assert len(deployment.json("agent", "list")) == 2
        finally:
            gate.send_signal(signal.SIGTERM)


def test_a_state_that_is_no_folder_is_named(deployment):
    deployment.state.write_text("")
    for words in (("up",), ("agent", "list")):
        assert "PC7001" in deployment.run(*words, code=1).err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--server", "../../elsewhere"), "--server"),
        (("--env", "NAME"), "--env"),
        ((), "two pipes"),
    ],
)
def test_a_wrapper_that_cannot_serve_says_so_and_does_not_crash(deployment, words, text):
    done = subprocess.run(
        [COMMAND, "mcp", "--agent", "shop-1", *words, "--", "cat"],
        cwd=deployment.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "PC7004" in done.stderr
    assert text in done.stderr


def test_what_changes_something_says_so_in_json_too(served):
    deployment, _ = served
    deployment.create("agent", "shop-1")
    deployment.create("application", "web")
    assert deployment.json("agent", "suspend", "shop-1")["state"] == "suspended"
    assert deployment.json("agent", "resume", "shop-1")["state"] == "active"
    who = ("--application", "web")
    opened = deployment.json("session", "open", "shop-1", *who, "--user", "u", "--prompt", "p")
    closed = deployment.json("session", "close", opened["session"], *who)
    assert closed == {"session": opened["session"], "state": "closed"}


def test_a_second_gate_says_which_one_runs(served):
    deployment, gate = served
    refused = deployment.run("up", code=1)
    assert "PC6003" in refused.err
    assert gate["gate"] in refused.err
