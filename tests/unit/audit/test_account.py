"""What the events say is missing: found across segments, and never said of an honest log."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from portcullis.audit.account import Account, Books, Count, Counter
from portcullis.audit.pruned import PRUNE, parameters

START = datetime(2030, 1, 1, tzinfo=UTC)


def entry(number: int, kind: str = "tool_call", **fields: object) -> bytes:
    time = START + timedelta(seconds=number)
    given = {"id": f"e{number}", "type": kind, "time": time, "verdict": "allow", **fields}
    return msgspec.json.encode(given)


def result(number: int, decision: int) -> bytes:
    return entry(number, "tool_result", decision=f"e{decision}")


RESTART = {"kind": "identity", "method": "svid.issue", "principal_kind": "gateway"}


def summed(*segments: list[bytes], since: int = 10**9) -> tuple[Account, Books]:
    books, first = Books(), 0
    for entries in segments:
        counter = Counter(since)
        counter.add(first, entries, [hashlib.sha256(e).digest() for e in entries])
        books.add(counter.close())
        first += len(entries)
    books.settle(e for entries in segments for e in entries)
    return books.account(), books


def test_a_log_in_which_every_decision_has_its_result_has_no_faults() -> None:
    account, books = summed([entry(0), entry(1), result(2, 0)], [result(3, 1), entry(4)])
    assert account.decisions == 3
    assert account.in_flight == Count(1, ("e4",))
    assert not list(account.faults())
    assert books.last == "2030-01-01T00:00:04Z"


def test_refusals_and_what_is_no_call_are_owed_nothing() -> None:
    account, _ = summed([entry(0, verdict="deny"), entry(1, "admin"), entry(2, "error")])
    assert (account.decisions, account.in_flight, account.cut) == (1, Count(), Count())


def test_what_a_crash_cut_off_is_told_from_what_is_in_flight() -> None:
    account, _ = summed([entry(0), entry(1), result(2, 1)], [entry(3, **RESTART), entry(4)])
    assert account.cut == Count(1, ("e0",))
    assert account.in_flight == Count(1, ("e4",))
    assert not list(account.faults())


@pytest.mark.parametrize("split", range(5))
def test_a_result_without_its_decision_is_found_wherever_a_segment_ends(split: int) -> None:
    entries = [entry(0), result(1, 0), result(2, 9), entry(3), result(4, 3)]
    account, _ = summed(entries[:split], entries[split:])
    assert account.orphans == Count(1, ("e2",))
    assert list(account.faults()) == ["1 results without a decision: e2"]


@pytest.mark.parametrize("split", range(5))
def test_a_call_that_fails_after_its_result_is_no_fault(split: int) -> None:
    entries = [entry(0), result(1, 0), entry(2), result(3, 0), result(4, 2)]
    account, _ = summed(entries[:split], entries[split:])
    assert account.orphans == Count()


def test_an_entry_that_stands_twice_is_found_wherever_it_stands() -> None:
    account, _ = summed([entry(0), entry(1)], [entry(2), entry(1)])
    assert account.copies == Count(1, ("entry 3",))


def test_what_is_no_event_is_found_and_counted() -> None:
    account, _ = summed([b" ", b"[", b'{"id":1}', b"\xff", entry(4), b"[" * 9000])
    assert account.unreadable.count == 5
    assert account.unreadable.first[0] == "entry 0"


def test_a_result_is_not_its_own_decision_nor_that_of_another_result() -> None:
    account, _ = summed([entry(0), result(1, 0), result(2, 2), result(3, 1), entry(4, "admin")])
    assert account.orphans == Count(2, ("e2", "e3"))


def test_the_earliest_time_is_looked_for_from_where_it_counts() -> None:
    _, books = summed([entry(0), entry(9)], [entry(5), entry(7)], since=1)
    assert books.earliest() == START + timedelta(seconds=5)
    assert summed([entry(0)])[1].earliest() is None
    assert summed([entry(0) + b" ", entry(1, time="soon")], since=0)[1].earliest() is not None
    assert summed([entry(1, time="soon")], since=0)[1].earliest() is None


@pytest.mark.parametrize("time", ["!", "", "0", "2030-13-01T00:00:00Z"])
def test_an_entry_without_a_time_cannot_hide_one_that_was_dated_back(time: str) -> None:
    account, books = summed([entry(1), entry(5, time=time)], since=0)
    assert books.earliest() == START + timedelta(seconds=1)
    assert account.unreadable == Count(1, ("entry 1",))


def test_times_are_compared_as_times_and_not_as_text() -> None:
    east = "2030-01-01T09:00:00+14:00"  # the evening before
    _, books = summed(
        [entry(1), entry(2, time=east), entry(3, time="2030-01-01T00:00:00")], since=0
    )
    assert books.earliest() == datetime.fromisoformat(east)


def told(at: int, spoilt: bytes = b"", **more: object) -> bytes:
    """The event number ``at``, which says that the entries before it were pruned."""
    said = parameters(range(at), {"tool_call": START.timestamp() + at}, {}) | more
    event = entry(at, "admin", method=PRUNE, parameters=said)
    return event.replace(msgspec.json.encode(said), spoilt) if spoilt else event


@pytest.mark.parametrize(
    "record",
    [
        told(2, b'{"which":"\xff\xfe"}'),
        told(2, b'{"which":1e999}'),
        told(2, first=2**63, end=2**63 + 65_536),
        told(2, first=65_536, end=2 * 65_536),
        told(2, before={"tool_call": 10**400}),
        told(2).replace(b"2030-01-01T00:00:02Z", b"0001-01-01T00:00:00"),
    ],
    ids=["no text", "no number", "beyond numbers", "segment to come", "no time", "year one"],
)
def test_a_hostile_record_of_a_pruning_ends_no_verification_and_does_not_pass(
    record: bytes,
) -> None:
    _, books = summed([b"", b"", record])
    faults = str(list(books.pruned_faults()))
    assert "2 entries are gone" in faults or "sooner than the policy" in faults


def test_a_record_covers_nothing_that_comes_after_it() -> None:
    ahead = parameters(range(8), {"tool_call": START.timestamp() + 3}, {"tool_call": -9.0})
    record = entry(3, "admin", method=PRUNE, parameters=ahead)
    _, books = summed([entry(0), b"", entry(2), record, b"", entry(5)])
    assert list(books.pruned_faults()) == ["1 entries are gone and no event says so: 4"]


def test_a_policy_of_less_than_nothing_excuses_no_record_of_the_future() -> None:
    record = told(2, before={"tool_call": START.timestamp() + 999}, min_days={"tool_call": -9.0})
    _, books = summed([b"", b"", record])
    assert "sooner than the policy" in str(list(books.pruned_faults()))


@pytest.mark.parametrize("split", range(1, 5))
def test_a_record_that_states_a_time_to_come_does_not_buy_days(split: int) -> None:
    late = START + timedelta(days=400)
    before = {"tool_call": late.timestamp() - 180 * 86_400}
    said = parameters([0, 1], before, {"tool_call": 180.0})
    record = entry(2, "admin", method=PRUNE, parameters=said, time=late)
    events = [b"", b"", record, entry(3), entry(4, "admin", time=late)]
    _, books = summed(events[:split], events[split:])
    assert list(books.pruned_faults(180)) == ["e2 prunes at a time that had not come"]
    _, books = summed(events[:3])
    assert not list(books.pruned_faults(180))
    assert len(list(books.pruned_faults(180, START.timestamp()))) == 1


@pytest.mark.parametrize("split", range(1, 5))
def test_what_is_gone_at_the_seam_of_two_segments_was_not_too_young(split: int) -> None:
    old = {"tool_call": START.timestamp() - 400 * 86_400}
    record = entry(4, "admin", method=PRUNE, parameters=parameters([1, 2], old, {}))
    events = [entry(0), b"", b"", entry(3), record]
    _, books = summed(events[:split], events[split:])
    assert all("too young to be pruned" in fault for fault in books.pruned_faults())
    assert len(list(books.pruned_faults())) == (2 if split == 2 else 1)


def test_many_records_of_a_hostile_log_take_no_more_memory_than_it_does() -> None:
    counter = Counter(0)
    counter.add(2, [told(2)] * 100, [b""] * 100)
    assert sum(len(one.which) for one in counter.close().prunings) < 100 * len(told(2))


@pytest.mark.parametrize("split", range(4))
def test_a_session_whose_first_events_after_a_start_were_pruned_has_no_gap(split: int) -> None:
    at = {"session": "s"}
    before = [entry(number, sequence=number + 1, **at) for number in range(7)]
    start = entry(7, "admin", method="policy.activate")
    after = [entry(9, sequence=2, **at), entry(10, sequence=3, **at)]
    events = [start, b"", *after]
    account, _ = summed(before + events[:split], events[split:])
    assert account.gaps == Count()
    account, _ = summed([*before, start, *after])
    assert account.gaps == Count(1, ("e9",))
