"""What the events say is missing: found across segments, and never said of an honest log."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from portcullis.audit.account import Account, Books, Count, Counter

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
