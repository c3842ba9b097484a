"""Watching what waits: what keys do, and what is said of each change."""

import io
import os
import pty
import queue
import threading
import time
import tty
from contextlib import nullcontext
from types import SimpleNamespace

import msgspec
import pytest
from rich.console import Console
from sqlalchemy import insert

import waiting
from portcullis.cli import approval_watch, watch_source
from portcullis.cli.approval_watch import changes
from portcullis.cli.terminal import PASTED, Keys, keys_in
from portcullis.cli.watch_screen import Mode, Screen, Wish
from portcullis.cli.watch_source import Snapshot
from portcullis.cli.watch_view import left, view
from portcullis.control.approvals_api import ApprovalList, ApprovalView
from portcullis.core.approval import State, Verb
from portcullis.core.call import RiskClass
from portcullis.core.desk import Wanted
from portcullis.store.engine import open_sqlite
from portcullis.store.tables import APPROVALS


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


def test_what_is_chosen_stays_chosen_and_nothing_is_when_it_is_gone(screen):
    screen.press("down")
    screen.update((one("x"), one("y"), one("b2")))
    assert screen.chosen == "b2"
    screen.update((one("x"), one("y"), one("z")))
    for key in ("a", "d", "enter"):
        assert (screen.chosen, screen.press(key), screen.mode) == ("", None, Mode.LIST)
    assert "nothing is chosen" in screen.said
    assert ">" not in drawn(screen)
    screen.press("j")
    assert screen.chosen == "z"  # that is where it was
    screen.update(())
    screen.update((one("new"),))
    assert (screen.chosen, screen.press("a"), screen.mode) == ("", None, Mode.LIST)


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


def test_the_end_of_one_long_argument_is_reached_and_what_follows_is_counted(screen):
    screen.show([("  body", "x" * 3000 + " -- then pay mallory"), ("user", "u")])
    assert "... 30 more lines" in drawn(screen)
    seen = ""
    for _ in range(6):
        seen += drawn(screen)
        screen.press("pagedown")
    assert "pay mallory" in seen
    screen.press("end")
    assert "user" in drawn(screen, width=40)  # folded anew, and still there


def test_a_long_name_of_an_argument_pushes_nothing_off_the_screen(screen):
    screen.show([("  " + "n" * 4000, "value"), ("accents", "\u0301" * 50_000)])
    text = drawn(screen, height=16)
    assert len(text.splitlines()) <= 16
    assert "a approve" in text
    assert max(map(len, text.splitlines())) <= 80
    screen.press("end")
    assert len(drawn(screen, height=16)) < 4000


def test_a_call_is_folded_once_not_whenever_it_is_drawn(screen, monkeypatch):
    folded = []
    monkeypatch.setattr(
        "portcullis.cli.watch_screen.chop_cells", lambda text, _: folded.append(text) or [text]
    )
    screen.show([("said", "\u4e2d" * 40)])
    for key in ("down", "up", "down"):
        drawn(screen)
        screen.press(key)
    assert len(folded) == 1


def test_a_decision_that_is_typed_says_which_call_it_is_on_and_that_it_is_gone(screen):
    screen.update((one("a1", name="n" * 300),))
    screen.press("d")
    assert "deny a1, external" in drawn(screen)
    screen.update((one("b2"),))
    assert "deny a1, which waits no more" in drawn(screen)
    assert typed(screen, [*"no", "enter"]) == [Wish("deny", "a1", "no")]


def test_the_title_counts_those_too_that_are_not_shown(screen):
    assert "3 calls wait  (" in drawn(screen)
    last = Snapshot(screen.rows, total=1203)
    assert "1203 calls wait, the oldest 3 are here" in drawn(screen, last)
    screen.decided("a1", "denied")
    assert "1202 calls wait" in drawn(screen, last)


def test_what_is_pasted_is_text_in_one_line_and_no_command(screen):
    paste = "\x1b[200~wrong account,\r\nas\x1b[A the customer\x07 said\n\x1b[201~"
    (key,) = keys_in(paste)
    assert (screen.press(key), screen.mode) == (None, Mode.LIST)
    assert typed(screen, keys_in(f"d{paste}")) == []
    assert (screen.target.id, screen.typed) == ("a1", "wrong account, as[A the customer said")


def test_a_paste_that_comes_in_pieces_is_one_key_when_its_end_is_there():
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    keys = Keys(theirs)
    try:
        found = []
        for piece in ("d\x1b[20", "0~no\ra", "y" * 3000, "es\r\x1b[2", "01~", "q"):
            os.write(ours, piece.encode())
            found += keys.wait(1.0)
        assert found == ["d", f"{PASTED}no a{'y' * 3000}es", "q"]
        os.write(ours, b"a\x1b[200~x")
        keys.forget()
        os.write(ours, b"q\r\x1b[201~j")
        assert [key for key in keys.wait(1.0) if not key.startswith(PASTED)] == ["j"]
    finally:
        keys.close()
        os.close(ours)
        os.close(theirs)


def test_what_is_still_typed_after_a_wish_is_for_no_other_call():
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    keys = Keys(theirs)

    def typing():
        for key in (b"j", b"d", b"no", b"\r"):
            os.write(ours, key)
            time.sleep(0.15)

    hands = threading.Thread(target=typing)
    try:
        hands.start()
        assert keys.forget()
        hands.join()
        assert keys.wait(0.0) == []
    finally:
        hands.join()
        keys.close()
        os.close(ours)
        os.close(theirs)


def test_a_key_that_is_held_down_after_a_wish_is_let_go_for_as_long_as_it_takes(monkeypatch):
    monkeypatch.setattr("portcullis.cli.terminal._FORGET_SECONDS", 0.1)
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    keys = Keys(theirs)
    held = threading.Event()

    def holding():
        while not held.wait(0.01):
            os.write(ours, b"a")

    hand = threading.Thread(target=holding)
    try:
        hand.start()
        assert not keys.forget()
        held.set()
        hand.join()
        assert keys.forget()
        assert keys.wait(0.0) == []
    finally:
        held.set()
        keys.close()
        os.close(ours)
        os.close(theirs)


def test_every_change_is_one_line_and_none_is_said_twice():
    before = (one("a1"), one("b2", reminded_at=2.0), one("c3"))
    now = Snapshot(
        waiting=(one("b2", reminded_at=2.0, escalated_at=3.0), one("c3"), one("d4")),
        settled=(one("a1", state="denied"),),
    )
    said = [(change, what.id) for change, what in changes(before, now)]
    assert said == [("denied", "a1"), ("escalated", "b2"), ("waits", "d4")]
    assert changes(now.waiting, Snapshot(now.waiting)) == []
    assert changes((), Snapshot((), (one("x9"),))) == [("gone", one("x9"))]


def test_keys_are_for_the_rows_that_are_on_the_screen(monkeypatch):
    """The list changes after the keys were pressed, before anything is done with them."""
    found, asked = queue.SimpleQueue(), []

    class Pressed:
        batches = iter([[], [*"dno", "enter", *"jdno", "enter"], ["q", "j", *"dno", "enter"]])
        wake = list

        def forget(self):
            return True

        def wait(self, _):
            batch = next(self.batches)
            now = Snapshot((one("b2"), one("c3")), (one("a1", state="expired"),))
            found.put(now if batch else Snapshot((one("a1"), one("b2"))))
            return batch

    source = SimpleNamespace(snapshots=found, look_now=list)
    monkeypatch.setattr(approval_watch, "held", lambda: nullcontext(Pressed()))
    monkeypatch.setattr(watch_source, "watching", lambda *_: nullcontext(source))
    monkeypatch.setattr(
        approval_watch, "_ask", lambda _, screen, wish: (asked.append(wish), screen.back())
    )
    approval_watch._live(None)
    assert asked == [Wish("deny", "a1", "no")]


class Gate:
    """What the control plane says: its list, in pages, without what nobody decided in time."""

    def __init__(self, store, now):
        self.store, self.now, self.asks = store, now, 0

    def _page(self, wanted, cursor, most):
        self.asks += 1
        found = self.store.page(wanted, cursor, most, self.now)
        views = [ApprovalView.of(each) for each in found.approvals]
        waiting = self.store.waiting(self.now)
        return ApprovalList(approvals=views, frozen=[], following=found.following, waiting=waiting)

    def waiting(self, cursor, most):
        return self._page(Wanted(), cursor, most)

    def asked(self, cursor, most):
        return self._page(Wanted(states=tuple(State)), cursor, most)


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    """1200 calls that wait, and who watches them through a gate."""
    desk = waiting.deployed(tmp_path)
    rows = [
        msgspec.structs.asdict(
            waiting.approval(f"{n:08}", agent=f"a{n}", created_at=1000.0 + n // 7, expires_at=at)
        )
        | {"sealed": b"x", "chain": ""}
        for n, at in enumerate([2e9] * 3 + [waiting.NOW] * 1197)
    ]
    engine = open_sqlite(desk.config.state / "portcullis.db")
    with engine.begin() as connection:
        connection.execute(insert(APPROVALS), rows)
    gate = Gate(desk.store, 1500.0)
    monkeypatch.setattr(watch_source.time, "time", lambda: gate.now)
    source = watch_source.Watching(desk.config, list)
    monkeypatch.setattr(source, "_asked", lambda _: nullcontext(watch_source._OfGate(gate)))
    yield SimpleNamespace(store=desk.store, gate=gate, look=source._now)
    engine.dispose()
    desk.close()


def test_what_a_call_became_is_said_of_each_however_many_wait(crowd):
    before = crowd.look(None)
    assert (len(before.waiting), before.total) == (1000, 1200)
    crowd.store.move("00000003", Verb.APPROVE, now=1500.0, by="bea", reason="ok")
    crowd.store.move("00000900", Verb.DENY, now=1500.0, by="bo", reason="no")
    crowd.gate.now, crowd.gate.asks = 2e9, 0
    now = crowd.look(before)
    said = [(each.id[-3:], each.state, each.decided_by) for each in now.settled]
    assert said == [
        *((name, "expired", "") for name in ("000", "001", "002")),
        ("003", "approved", "bea"),
        ("900", "denied", "bo"),
    ]
    assert crowd.gate.asks < 10
    assert (len(now.waiting), now.total) == (1000, 1195)


def test_no_state_is_made_up_for_what_is_not_known_or_still_waits(crowd):
    crowd.gate.now = 900.0
    before = crowd.look(None)
    unknown, pushed = one("never", created_at=1100.0), crowd.store.get("00001100")
    before = before._replace(waiting=(unknown, ApprovalView.of(pushed)))
    now = crowd.look(before)
    assert changes(before.waiting, now._replace(waiting=())) == [("gone", unknown)]
