"""Watching what waits: what keys do, and what is said of each change."""

import io

import pytest
from rich.console import Console

import waiting
from portcullis.cli.approval_watch import changes
from portcullis.cli.terminal import keys_in
from portcullis.cli.watch_screen import Mode, Screen, Wish
from portcullis.cli.watch_source import Snapshot
from portcullis.cli.watch_view import left, view
from portcullis.control.approvals_api import ApprovalView
from portcullis.core.call import RiskClass


def one(approval_id, **changes):
    return ApprovalView.of(waiting.approval(approval_id, **changes))


@pytest.fixture
def screen():
    made = Screen()
    made.update((one("a1"), one("b2"), one("c3", risk=RiskClass.DELETE)))
    return made


def typed(screen, text):
    return [wish for key in text if (wish := screen.press(key))]


def drawn(screen, last=None, width=80, height=24):
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    last = last or Snapshot(screen.rows)
    console.print(view(screen, last, now=waiting.NOW - 90, width=width, height=height))
    return console.file.getvalue()


def test_keys_arrive_as_they_were_pressed():
    assert keys_in("j\x1b[B\x1bOA\x1b[5~\r\x7f\x1b\x15é\x00") == [
        *("j", "down", "up", "pageup", "enter", "backspace", "escape", "clear", "é")
    ]


def test_a_decision_is_on_the_call_that_stood_there_even_when_the_list_moves(screen):
    screen.press("j")
    screen.press("d")
    screen.update((one("new"), one("a1"), one("b2")))
    assert typed(screen, "no") == []
    assert screen.press("enter") == Wish("deny", "b2", "no")


def test_what_is_chosen_stays_chosen_and_a_neighbour_when_it_is_gone(screen):
    screen.press("down")
    screen.update((one("x"), one("y"), one("b2")))
    assert screen.chosen == "b2"
    screen.update((one("x"), one("y")))
    assert screen.chosen == "y"
    screen.update(())
    assert (screen.chosen, screen.press("enter"), screen.press("a")) == ("", None, None)
    assert screen.mode is Mode.LIST


def test_nothing_is_deleted_without_its_name_typed(screen):
    screen.press("end")
    screen.press("a")
    assert screen.mode is Mode.NAME
    assert typed(screen, "pay") == []
    assert screen.press("enter") is None
    assert (screen.mode, "not what it calls" in screen.said) == (Mode.NAME, True)
    typed(screen, ["clear", *"bank.pay", "enter"])
    assert screen.mode is Mode.REASON
    assert typed(screen, [*"ok", "enter"]) == [Wish("approve", "c3", "ok")]
    screen.back()
    screen.press("d")
    assert screen.mode is Mode.REASON  # a refusal deletes nothing


def test_a_decision_needs_a_reason_and_escape_takes_it_back(screen):
    screen.press("a")
    assert typed(screen, [" ", "enter"]) == []
    assert "say why" in screen.said
    screen.press("escape")
    assert (screen.mode, screen.typed) == (Mode.LIST, "")
    assert typed(screen, [*"a" * 300, "enter"]) != []


def test_a_call_is_decided_where_it_is_read(screen):
    assert screen.press("enter") == Wish("show", "a1")
    screen.show([("calls", "x")])
    screen.update((one("zz"),))
    screen.press("d")
    typed(screen, "why")
    assert screen.press("enter") == Wish("deny", "a1", "why")
    screen.press("escape")
    assert screen.mode is Mode.SHOW
    screen.press("q")
    assert (screen.mode, screen.done) == (Mode.LIST, False)
    screen.press("q")
    assert screen.done


def test_nothing_an_agent_wrote_acts_on_the_terminal_or_reads_as_markup(screen):
    screen.update((one("a1", agent="x\x1b[2J[red]y", name="pay\u202e"),))
    text = drawn(screen, width=120)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "x\\x1b[2J[red]y" in text
    screen.press("a")
    assert "\u202e" not in drawn(screen, width=120)
    screen.show([("calls", "one [b]two[/b]")])
    assert "[b]two[/b]" in drawn(screen)


def test_what_is_urgent_is_seen_and_the_chosen_row_too_in_a_small_window(screen):
    screen.update(tuple(one(f"r{n}", reminded_at=2.0, agent=f"agent-{n}") for n in range(50)))
    screen.press("end")
    text = drawn(screen, Snapshot(screen.rows, frozen=("bad-1",)), width=100, height=12)
    assert "agent-49" in text
    assert "agent-3 " not in text
    assert "reminded" in text
    assert "bad-1 may not ask" in text
    assert "1m30s" in text
    assert len(text.splitlines()) <= 13
    assert [left(at).plain for at in (-3, 59, 3600, 2 * 86400)] == ["0m00s", "0m59s", "1h00m", "2d"]


def test_a_long_call_is_folded_and_scrolled_to_its_end(screen):
    screen.show([("said", "x" * 300), *((f"n{at}", f"value-{at}") for at in range(40))])
    assert "value-39" not in drawn(screen, height=16)
    screen.press("end")
    assert "value-39" in drawn(screen, height=16)


def test_every_change_is_one_line_and_none_is_said_twice():
    before = (one("a1"), one("b2", reminded_at=2.0), one("c3"))
    now = Snapshot(
        waiting=(one("b2", reminded_at=2.0, escalated_at=3.0), one("c3"), one("d4")),
        settled=(one("a1", state="denied"),),
    )
    said = [(change, what.id) for change, what in changes(before, now)]
    assert said == [("denied", "a1"), ("escalated", "b2"), ("waits", "d4")]
    assert changes(now.waiting, Snapshot(now.waiting)) == []
