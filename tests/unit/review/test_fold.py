"""The fold: what it counts, what it remembers, and that it goes on where it stopped."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from portcullis.core.errors import Problem
from portcullis.core.names import HIDDEN
from portcullis.review import fold as folding
from portcullis.review.facts import Facts
from portcullis.review.fold import Fold
from portcullis.review.signals import tally
from unit.review.making import ORIGIN, START, admin, created, entry, event, facts, result

DENIED = event(2, verdict="deny", code="PC3004", findings=("EMAIL:mask@a", "IBAN@b"))
LOG = [
    created(0),
    event(1),
    DENIED,
    result(3, 1),
    admin(4, "evidence.gap", "log-silent", by="", verdict="", parameters={"state": "opened"}),
    admin(5, "evidence.package", "soc2", by="", verdict=""),
    event(6, name=HIDDEN),
]


def test_events_are_counted_by_kind_with_the_first_and_the_last_of_them():
    found = facts([*LOG, event(7)])
    assert found.size == 8
    decided, masked = tally(found, "decisions"), tally(found, "masked")
    assert (decided.count, decided.first.id, decided.last.id) == (4, "e1", "e7")
    assert (masked.count, masked.first.who, masked.first.what) == (1, "agent:a", "orders.search")
    assert tally(found, "scope_denials").count == 1
    assert tally(found, "canaries") is None
    assert list(found.waiting) == ["gate/e6", "gate/e7"]
    assert list(found.tools) == ["orders.search"]
    assert found.announced.keys() == {"log-silent"}
    assert found.packages["soc2"].id == "e5"


@pytest.mark.parametrize("at", range(len(LOG) + 1))
def test_folding_goes_on_from_what_was_written_down(at):
    begun = msgspec.json.decode(msgspec.json.encode(facts(LOG[:at])), type=Facts)
    fold = Fold(begun)
    for one in LOG[at:]:
        fold.add(entry(one))
    assert fold.facts() == facts(LOG)


def test_a_period_counts_its_own_events_and_knows_who_was_registered_before():
    begin, end = START + timedelta(seconds=2), START + timedelta(seconds=4)
    found = facts(LOG, since=begin, until=end)
    assert (found.first.id, found.last.id, found.size) == ("e2", "e3", len(LOG))
    assert found.principals["agent:a"].owner == "team"
    assert found.breaches == {}  # the result's decision lies before
    assert found.packages == {}


def test_a_gap_that_closed_is_no_longer_announced():
    closed = admin(9, "evidence.gap", "log-silent", by="", parameters={"state": "closed"})
    assert facts([*LOG, closed]).announced == {}


def test_the_life_of_a_principal_is_followed():
    acts = ["suspend", "resume", "expire", "review", "revoke"]
    events = [created(0), *(admin(n, f"principals.{a}", "agent:a") for n, a in enumerate(acts, 1))]
    states = [facts(events[:n]).principals["agent:a"].state for n in range(1, 7)]
    assert states == ["active", "suspended", "active", "expired", "active", "revoked"]


def test_what_was_refused_changes_nobody():
    refused = admin(1, "principals.revoke", "agent:a", verdict="deny")
    assert facts([created(0), refused]).principals["agent:a"].state == "active"


@pytest.mark.parametrize("entry_", [b"{}", b"[]", b'{"id":1}', b"\xff", b"[" * 9000])
def test_what_is_no_event_is_reported_and_not_passed_over(entry_):
    with pytest.raises(Problem) as caught:
        Fold(Facts(origin=ORIGIN)).add(entry_)
    assert caught.value.code == "PC6005"


@pytest.mark.parametrize("parameters", [b"[]", b"7", b'{"tools":7,"state":[],"review_at":"x"}'])
def test_parameters_of_another_form_are_no_fault(parameters):
    for method in ("principals.create", "catalogue.pin", "evidence.gap", "principals.review"):
        raw = entry(admin(0, method, "agent:a")).replace(
            b'"verdict"', b'"parameters":' + parameters + b',"verdict"'
        )
        fold = Fold(Facts(origin=ORIGIN))
        fold.add(raw)
        assert fold.facts().size == 1


def test_what_is_remembered_is_bounded_and_what_is_full_is_said(monkeypatch):
    for name in ("MAX_KINDS", "MAX_NAMES", "MAX_OPEN"):
        monkeypatch.setattr(folding, name, 3)
    found = facts(
        event(n, name=f"t{n}", principal=f"a{n}", code=f"PC{n}", findings=("A@x",) * (n % 2))
        for n in range(20)
    )
    assert max(map(len, (found.kinds, found.tools, found.principals, found.waiting))) == 3
    assert found.full == {"kinds", "tools", "principals"}
    assert found.forgotten is not None
    assert (found.forgotten.count, found.forgotten.first.index) == (17, 0)
    assert found.size == 20


def test_names_that_others_chose_are_cut():
    found = facts([event(0, name="n" * 500, principal="p" * 500)])
    ((tool, seen),) = found.tools.items()
    assert max(map(len, (tool, seen.first.who, seen.first.what, *found.principals))) == 100


@pytest.mark.parametrize("acted", [(), (event(0),)], ids=["never", "before"])
def test_the_first_call_of_somebody_who_was_cut_off_counts_too(acted):
    cut = [created(1), admin(2, "principals.suspend", "agent:a")]
    assert facts([*acted, *cut, event(20)]).breaches["acted-while-cut-off"].count == 1


def test_names_that_begin_alike_are_kept_apart():
    long = "search the orders of customers by name " * 5
    approval = {"server": "orders", "tool": f"{long}one"}
    found = facts(
        [
            admin(0, "catalogue.pin", f"orders.{long}one", parameters=approval),
            event(1, name=f"{long}one"),
            event(2, name=f"{long}two"),
        ]
    )
    assert len(found.tools) == 2
    assert found.tools.keys() & found.approved.keys() == found.approved.keys() != set()
    assert max(map(len, found.tools)) == 100
