"""Following the log: in a terminal as a view, elsewhere line by line."""

import contextlib
import io
import json
import shutil
import signal
import subprocess
from datetime import UTC, datetime

import pytest
from rich.console import Console

import commands
import terminals
from audit_logs import Log
from portcullis.audit.query import Filter, Record, last
from portcullis.cli import audit_place
from portcullis.cli.audit_tail import following_on
from portcullis.cli.audit_view import Rolling, view
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType


def event(event_id, **changes):
    fields = {"type": EventType.TOOL_CALL, "principal": "shop-1", "server": "mail", "name": "send"}
    fields |= {"time": datetime.now(UTC), "v": 1, "id": event_id, "gateway": "gw"}
    return Event(**(fields | changes))


class Growing:
    def __init__(self, root):
        self.log = Log(root)

    def say(self, *events):
        """What a gate does that starts, records this, and stops."""
        with self.log.open() as log:
            for one in events:
                log.enqueue(one)


@pytest.fixture
def growing(tmp_path):
    made = Growing(tmp_path)
    made.say(event("e1", verdict="allow", risk="read"))
    return made


@contextlib.contextmanager
def following(growing, *more):
    words = ["audit", "tail", "-f", str(growing.log.directory), *more]
    with subprocess.Popen([*terminals.PORTCULLIS, *words], stdout=-1, stderr=-1) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)


def test_what_an_operator_did_is_told_from_the_call_that_it_was_done_about(growing):
    approved = event("e5", type=EventType.ADMIN, method="approval.approved", verdict="allow")
    rolling = Rolling(Filter(), [Record(0, approved, b"{}")])
    console = Console(width=140, file=io.StringIO())
    console.print(view(rolling, now=0.0, width=140, height=20))
    assert "approval.approved mail.send" in console.file.getvalue()


def test_the_view_rolls_filters_pauses_and_leaves_the_terminal_as_it_was(growing):
    words = ["audit", "tail", "-f", str(growing.log.directory), "--agent", "shop-1"]
    with terminals.terminal(*words, columns=120) as terminal:
        terminal.expect("mail.send")
        growing.say(
            event("e2", principal="other-1", name="hidden"),
            event("e3", verdict="deny", code="PC3001", risk="delete", name="wipe\x1b[2J"),
        )
        terminal.expect("wipe\\x1b[2J")
        terminal.expect("PC3001")
        terminal.expect("s after it happened  agent=shop-1")
        assert "hidden" not in terminal.plain
        assert "\x1b[31mdeny" in terminal.text
        terminal.press("p")
        terminal.expect("PAUSED, 0 more")
        growing.say(event("e4", name="later"))
        terminal.expect("PAUSED, 1 more")
        assert "later" not in terminal.plain
        terminal.press("p")
        terminal.expect("later")
        terminal.resize(8, 60)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.restored()


def test_scripts_get_every_event_that_fits_at_once_over_restarts_of_the_gate(growing):
    with following(growing, "--json", "--verdict", "deny") as process:
        for name in ("e2", "e3"):
            growing.say(event(f"{name}-ok", verdict="allow"), event(name, verdict="deny"))
            assert json.loads(process.stdout.readline())["event"]["id"] == name
    with following(growing, "--code", "PC3001") as process:
        growing.say(event("e4"), event("e5", code="PC3001"))
        assert b"id=e5" in process.stdout.readline()


def test_the_last_events_that_fit_are_found_behind_those_that_do_not(growing):
    growing.say(event("want", session="s7"), *(event(f"o{number}") for number in range(20)))
    words = ["audit", "tail", str(growing.log.directory), "-n", "1", "--session", "s7", "--json"]
    done = commands.run(*words)
    assert done.returncode == 0
    assert json.loads(done.stdout)["event"]["id"] == "want"


def test_a_log_that_comes_back_is_read_on_and_one_that_was_cut_is_not(growing, monkeypatch):
    place = growing.log.directory
    log = audit_place.Log(place, growing.log.verifier)
    said = []
    kept = place.with_name("kept")
    steps = iter(
        [
            lambda: place.rename(kept),
            lambda: kept.rename(place),
            lambda: growing.say(event("e2")),
        ]
    )
    coming = following_on({log: 1}, said.append, lambda _: next(steps)())
    assert next(coming).event.id == "e2"
    assert ["PC7005" in one for one in said] == [True]

    shutil.copytree(place, kept)
    growing.say(event("e3"))
    assert next(following_on({log: 2}, said.append)).event.id == "e3"

    def cut(_):
        shutil.rmtree(place)
        shutil.copytree(kept, place)

    following = following_on({log: 3}, said.append, cut)
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr("portcullis.cli.audit_tail.time.monotonic", lambda: next(clock))
    with pytest.raises(Problem) as caught:
        next(following)
    assert (caught.value.code, "had 3 entries and has 2" in caught.value.detail) == ("PC6005", True)


def test_rate_and_lag_count_what_does_not_fit_too():
    rolling = Rolling(Filter(verdict="deny"))
    at = 1_900_000_000.0
    for number in range(20):
        one = event(f"e{number}", time=datetime.fromtimestamp(at - 2, UTC))
        rolling.add(Record(number, one, b""), at + number / 10)
    assert rolling.rate(at + 2) == 2.0
    assert rolling.rate(at + 60) == 0.0
    assert rolling.lag == pytest.approx(3.9)
    assert rolling.rows == ()


def test_a_word_that_no_event_holds_is_refused(growing):
    assert [one.event.id for one in last(growing.log.directory, growing.log.verifier, 1)] == ["e1"]
    for option in ("--verdict", "--code", "--risk"):
        done = commands.run("audit", "tail", growing.log.directory, option, "nonsense")
        assert (done.returncode, "PC7004" in done.stderr) == (2, True)
