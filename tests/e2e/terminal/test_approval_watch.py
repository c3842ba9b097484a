"""Deciding in a terminal: the real command on a real terminal, and what it leaves behind."""

import json
import signal
import subprocess

import pytest

import terminals
import waiting
from portcullis.core.approval import State, Verb
from portcullis.core.call import RiskClass


@pytest.fixture
def desk(tmp_path):
    made = waiting.deployed(tmp_path)
    made.ask("a1")
    yield made
    made.close()


def watching(desk, **settings):
    return terminals.terminal("approval", "watch", "-c", str(desk.file), **settings)


def test_calls_are_seen_read_decided_and_the_terminal_is_as_before(desk):
    desk.ask("z9", name="drop", risk=RiskClass.DELETE, created_at=1001.0)
    with watching(desk) as terminal:
        terminal.expect("2 calls wait")
        terminal.press(terminals.ENTER)
        terminal.expect("held because")
        terminal.expect(r'"DE1 \u202e\u001b[2J"')
        terminal.press("a")
        terminal.expect("why:")
        terminal.press("she said so" + terminals.ENTER)
        terminal.expect("approved: a1")
        terminal.press("ja")
        terminal.expect("type what it calls:")
        terminal.press("bank.drop" + terminals.ENTER)
        terminal.expect("why:")
        terminal.press("old" + terminals.ENTER)
        terminal.expect("Nothing waits.")
        desk.ask("n1", agent="late-1")
        terminal.expect("late-1", seconds=5)
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.restored()
    assert desk.store.get("a1").reason == "she said so"
    assert desk.store.get("z9").state is State.APPROVED


@pytest.mark.parametrize(
    ("way", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131), (signal.SIGINT, 0)],
)
def test_whatever_ends_it_the_terminal_is_put_back(desk, way, code):
    with watching(desk) as terminal:
        terminal.expect("1 calls wait")
        terminal.resize(10, 60)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.expect("1 calls wait")
        terminal.press("d")
        terminal.expect("why:")
        terminal.process.send_signal(way)
        assert terminal.end() == code
        assert terminal.restored()
        assert "Traceback" not in terminal.text
    assert desk.store.get("a1").state is State.PENDING


def test_what_is_typed_ahead_decides_no_other_call(desk):
    desk.ask("b2", created_at=1001.0)
    with watching(desk) as terminal:
        terminal.expect("2 calls wait")
        terminal.press(f"dwrong account,{terminals.ENTER}jas the customer said{terminals.ENTER}")
        terminal.expect("denied: a1")
        terminal.press("jd\x1b[200~no,\r\nand no\x1b[201~")
        terminal.expect("why: no, and no_")
        terminal.press("q\x1b")
        terminal.expect("a approve")
        terminal.press("q")
        assert terminal.end() == 0
    assert (desk.store.get("a1").state, desk.store.get("b2").state) == (State.DENIED, State.PENDING)


def test_a_fault_puts_the_terminal_back_and_says_what_it_was(desk):
    with watching(desk) as terminal:
        terminal.expect("1 calls wait")
        desk.file.with_name("state").chmod(0o700)
        (desk.config.state / "portcullis.db").chmod(0o644)
        terminal.expect("PC7001")
        (desk.config.state / "portcullis.db").chmod(0o600)
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.restored()


def test_scripts_get_one_line_of_json_for_each_change_and_no_colours(desk):
    words = [*terminals.PORTCULLIS, "approval", "watch", "--json", "-c", str(desk.file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            found = [json.loads(process.stdout.readline())]
            desk.ask("b2")
            found.append(json.loads(process.stdout.readline()))
            desk.store.mark(["b2"], "reminded", 2000.0)
            found.append(json.loads(process.stdout.readline()))
            desk.store.move("a1", Verb.DENY, now=2000.0, by="bea", reason="no")
            found.append(json.loads(process.stdout.readline()))
        finally:
            process.send_signal(signal.SIGINT)
            left, faults = process.communicate(timeout=10)
    assert [(one["change"], one["approval"]["id"]) for one in found] == [
        ("waits", "a1"),
        ("waits", "b2"),
        ("reminded", "b2"),
        ("denied", "a1"),
    ]
    assert found[-1]["approval"]["decided_by"] == "bea"
    assert (left, faults, process.returncode) == (b"", b"", 0)
