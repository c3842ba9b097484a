"""The bar that says that a command is at work: for people alone, and nothing is left of it."""

import io
import time
from types import SimpleNamespace

import pytest

from portcullis.cli.progress import progress, status


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stderr(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    return told(monkeypatch, Terminal())


def told(monkeypatch, stream):
    """What is written to stderr goes there."""
    monkeypatch.setattr("portcullis.cli.progress.sys", SimpleNamespace(stderr=stream))
    return stream


def until(stderr, wanted):
    end = time.monotonic() + 5
    while wanted not in stderr.getvalue():
        assert time.monotonic() < end, stderr.getvalue()
        time.sleep(0.01)


def test_a_bar_has_an_end_where_that_is_known_and_goes_away(stderr):
    with progress("verifying [x]", 2000, delay=0) as advance:
        advance(1500)
        until(stderr, "1,500/2,000")
    assert "verifying [x]" in stderr.getvalue()
    assert stderr.getvalue().endswith("\x1b[2K")
    assert "\x1b[?25h" in stderr.getvalue()


def test_where_the_whole_is_not_known_it_counts_and_invents_no_end(stderr):
    with progress("pruning", delay=0) as advance:
        advance(7)
        until(stderr, " 7 ")
    assert "%" not in stderr.getvalue()


def test_what_goes_on_in_steps_says_which(stderr):
    with status("measuring", delay=0) as say:
        say("round 2 of 3")
        until(stderr, "round 2 of 3")


@pytest.mark.parametrize("why", ["json", "pipe", "dumb"])
def test_programs_and_pipes_see_no_bar(stderr, monkeypatch, why):
    if why == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if why == "pipe":
        stderr = told(monkeypatch, io.StringIO())
    with progress("verifying", 3, quiet=why == "json", delay=0) as advance:
        advance(1)
        time.sleep(0.05)
    assert stderr.getvalue() == ""


def fail(stderr):
    with progress("verifying", 3, delay=0):
        until(stderr, "verifying")
        raise ValueError("broken")


def test_what_is_done_in_a_moment_shows_nothing_and_a_fault_takes_the_bar_away(stderr):
    with progress("verifying", 3) as advance:
        advance(3)
    assert stderr.getvalue() == ""
    with pytest.raises(ValueError, match="broken"):
        fail(stderr)
    assert stderr.getvalue().endswith("\x1b[2K")
