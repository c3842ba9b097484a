"""If these fail, the chaos suite calls a history good in which a promise was broken."""

from __future__ import annotations

import pytest

from chaos.history import (
    HANGS,
    LOST,
    Approved,
    Asked,
    Budget,
    Consumed,
    Decided,
    History,
    Killed,
    Received,
    Served,
    Streamed,
    Verified,
)
from chaos.model import violations


def asked(number, kind="note", code="", *, session="s", gateway="east", began=0.0, ended=0.1):
    text = f"text {number}" if kind != "pay" else "what is due"
    return Asked(f"m{number}", text, kind, session, "agent", gateway, began, ended, code)


def good():
    """A history with something of everything, in which all is as it should be."""
    made = History()
    made.asked = [
        asked(1),
        asked(2, code=LOST),
        asked(3, "pay"),
        asked(4, "pay", "PC3040", gateway="west"),
        asked(5, "read", session="r", began=1.0, ended=1.1),
        asked(6, "post", "PC3040", session="r", gateway="west", began=1.2, ended=1.3),
        asked(7, "post", session="clean", gateway="west", began=1.2, ended=1.3),
        asked(8, "spend", session="b"),
        asked(9, "spend", "PC3071", session="b"),
        asked(10, "chat", session="b"),
        asked(11, session="k", began=1.5, ended=1.6),
        asked(12, code="PC4001", session="k", began=9.0, ended=9.1),
    ]
    sent = [one for one in made.asked if one.code in {"", LOST}]
    made.received = [
        Received(one.text, one.kind, one.began, 10 * (one.kind == "chat")) for one in sent
    ]
    made.decided = [
        Decided(one.mark, one.gateway, "allow" if one in sent else "deny") for one in made.asked
    ]
    made.decided = [one for one in made.decided if one.mark != "m5"]  # it only read
    made.killed = [Killed("session", "k", 2.0)]
    made.streamed = [Streamed("k", "agent", "east", 1.0, 2.9), Streamed("s", "b", "east", 1.0, 9)]
    made.approved = [Approved("a", "what is due")]
    made.consumed = [Consumed("a", "east")]
    made.budgets = [Budget("b", "spend", "calls", 1), Budget("b", "chat", "tokens", 10)]
    made.verified = [Verified("east", ok=True)]
    made.served = [Served("east", "kill gateway", 3.0)]
    made.died = ["east"]
    return made


def undecided(history):
    history.decided = [one for one in history.decided if one.mark != "m1"]


def read_of_the_living(history):
    history.died = ["control"]


def unknown(history):
    history.received.append(Received("what nobody asked for", "read", 0.1))


def refused_and_done(history):
    history.received.append(Received("text 9", "spend", 0.1))


def done_twice(history):
    history.received.append(history.received[0])


def spent(history):
    history.asked.append(asked(20, "spend", session="b"))
    history.decided.append(Decided("m20", "east", "allow"))
    history.received.append(Received("text 20", "spend", 0.1))


def dear(history):
    history.received = [
        Received(one.text, one.kind, one.at, 2 * one.tokens) for one in history.received
    ]


def served_late(history):
    history.asked.append(asked(20, session="k", began=2.0 + 1.6, ended=3.7))


def acts_late(history):
    history.asked.append(asked(20, code=LOST, session="k", began=2.1, ended=3.9))
    history.decided.append(Decided("m20", "east", "allow"))
    history.received.append(Received("text 20", "note", 2.0 + 1.6))


def told_late(history):
    history.streamed.append(Streamed("k", "agent", "east", 1.0, 2.0 + 1.6))


def paid_again(history):
    history.asked.append(asked(20, "pay", gateway="west"))
    history.decided.append(Decided("m20", "west", "allow"))
    history.received.append(Received("what is due", "pay", 0.1))


def consumed_again(history):
    history.consumed.append(Consumed("a", "west"))


def paid_unasked(history):
    history.approved.clear()


def let_out(history):
    history.asked.append(asked(20, "post", session="r", gateway="west", began=1.2, ended=1.3))


def let_out_and_denied(history):
    history.received.append(Received("text 6", "post", 1.25))


def tampered(history):
    history.verified.append(Verified("west", ok=False, reasons=("entry 3 is another",)))


def hung(history):
    history.asked.append(asked(20, code=HANGS))


def slow(history):
    history.asked.append(asked(20, code="PC9002", ended=41.0))


def gone(history):
    history.served.append(Served("west", "kill redis", None))


def long_gone(history):
    history.served.append(Served("west", "kill redis", 61.0))


def test_a_history_in_which_all_is_well_is_called_so():
    assert violations(good()) == []


@pytest.mark.parametrize(
    ("breaks", "rule"),
    [
        (undecided, "recorded"),
        (read_of_the_living, "recorded"),
        (unknown, "recorded"),
        (refused_and_done, "recorded"),
        (done_twice, "recorded"),
        (spent, "within_budget"),
        (dear, "within_budget"),
        (served_late, "cut_off"),
        (acts_late, "cut_off"),
        (told_late, "cut_off"),
        (paid_again, "approved_once"),
        (consumed_again, "approved_once"),
        (paid_unasked, "approved_once"),
        (let_out, "labels_kept"),
        (let_out_and_denied, "labels_kept"),
        (tampered, "verifies"),
        (hung, "answers"),
        (slow, "answers"),
        (gone, "serves_again"),
        (long_gone, "serves_again"),
    ],
)
def test_a_broken_promise_is_named(breaks, rule):
    history = good()
    breaks(history)
    assert rule in {said.partition(":")[0] for said in violations(history)}
