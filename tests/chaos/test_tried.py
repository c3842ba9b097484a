"""If these fail, a round in which nothing was tried is called good."""

from __future__ import annotations

import pytest

from chaos.history import (
    LOST,
    Asked,
    Budget,
    Consumed,
    Decided,
    Fault,
    History,
    Killed,
    Received,
    Streamed,
    Verified,
)
from chaos.tried import STEADY, during, untried

GATEWAYS = ("east", "west")


def asked(kind, at, gateway="east", code="", session="s"):
    mark = f"{kind} {at} {gateway}"
    return Asked(mark, mark, kind, session, "agent", gateway, at, at + 0.1, code)


def good():
    """A round in which each promise was put to the test; the fault is from 1 to 2."""
    made = History(faults=[Fault(("kill redis",), 1.0, 2.0, ("it ended",))])
    for at, code in ((0.5, ""), (1.5, LOST), (3.0, "PC3071")):
        made.asked += [asked(kind, at, place, code) for kind in STEADY for place in GATEWAYS]
    made.asked += [asked("note", 9.0, place, "PC4001", "killed") for place in GATEWAYS]
    made.asked += [asked("pay", 3.0, place, "PC3040") for place in GATEWAYS]
    made.asked += [asked("read", 1.2, "east"), asked("post", 1.4, "west", "PC3040")]
    made.received = [Received("chat 0.5 east", "chat", 0.5, 10)]
    made.budgets = [Budget("s", "spend", "calls", 2), Budget("s", "chat", "tokens", 20)]
    made.streamed = [Streamed("killed", "agent", "east", 0.5, 1.6)]
    made.killed = [Killed("session", "killed", 1.7)]
    made.consumed = [Consumed("a", "east")]
    made.decided = [Decided(f"note 0.5 {place}", place, "allow") for place in GATEWAYS]
    made.verified = [Verified(place, ok=True) for place in GATEWAYS]
    return made


def without(**more):
    """Leave out the calls of which all of this is so."""

    def lack(history):
        kept = (one for one in history.asked)
        history.asked = [
            one
            for one in kept
            if not all(getattr(one, name) == value for name, value in more.items())
        ]

    return lack


def unseen(history):
    history.faults = [Fault(("kill redis", "disk full"), 1.0, 2.0, ("it ended",))]


def forgotten(name):
    return lambda history: getattr(history, name).clear()


def test_a_round_in_which_all_was_tried_is_called_so():
    assert untried(good(), GATEWAYS) == []
    assert during(good()) == {"note": 2, "spend": 2, "chat": 2, "read": 1, "post": 1}


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        (unseen, "only this was seen"),
        (without(kind="note", began=0.5), "no note was answered before"),
        (without(kind="chat", began=1.5, gateway="west"), "no chat was asked of west"),
        (without(kind="spend", began=3.0, gateway="west"), "spend was asked for 1 times"),
        (without(kind="chat", began=3.0, gateway="west"), "chat was asked for 1 times"),
        (forgotten("killed"), "nobody was killed"),
        (forgotten("streamed"), "nobody had a stream"),
        (without(session="killed", gateway="west"), "asked only at ['east']"),
        (forgotten("consumed"), "no approval was used"),
        (without(kind="pay", gateway="east"), "was not asked for everywhere"),
        (without(kind="read"), "nobody tried to let out"),
        (without(kind="post"), "nobody tried to let out"),
        (forgotten("decided"), "has nothing of this round"),
        (forgotten("verified"), "no log was verified"),
    ],
)
def test_what_was_not_tried_is_named(lacks, said):
    history = good()
    lacks(history)
    found = untried(history, GATEWAYS)
    assert any(said in one for one in found), found
