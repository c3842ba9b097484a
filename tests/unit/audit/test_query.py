from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from portcullis.audit.query import Filter, find, follow, last, records, related
from portcullis.core.errors import Problem
from portcullis.core.event import EventType


def numbers(found) -> list[int]:
    return [record.index for record in found]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), [0, 1, 2, 3]),
        (Filter(type="llm_call"), [3]),
        (Filter(principal="agent-2"), [1]),
        (Filter(session="s-1"), [0]),
        (Filter(tool="search"), [0, 1]),
        (Filter(tool="orders.search"), [0]),
        (Filter(verdict="deny"), [2]),
        (Filter(code="PC3001"), [2]),
        (Filter(verdict="deny", principal="agent-2"), []),
    ],
)
def test_each_filter_selects_what_it_names(place, event, wanted, expected) -> None:
    with place.open() as log:
        log.append_now(event(0, session="s-1"))
        log.append_now(event(1, principal="agent-2", server="crm"))
        log.append_now(event(2, verdict="deny", code="PC3001", name="x", decision=event(1).id))
        log.append_now(event(3, type=EventType.LLM_CALL, name="gpt-4"))
    found = [r for r in records(place.log, place.verifier) if wanted.matches(r.event)]
    assert numbers(found) == expected


def test_times_select_a_half_open_interval(place, event) -> None:
    place.fill(10)
    wanted = Filter(since=event(3).time, until=event(5).time + timedelta(milliseconds=1))
    found = [r for r in records(place.log, place.verifier) if wanted.matches(r.event)]
    assert numbers(found) == [3, 4, 5]


def test_an_event_is_shown_with_its_result_and_the_model_turn_behind_it(place, event) -> None:
    with place.open() as log:
        log.append_now(event(0, type=EventType.LLM_CALL))
        log.append_now(event(1))
        log.append_now(event(2, proposed_by=event(0).id))
        log.append_now(event(3, type=EventType.TOOL_RESULT, decision=event(2).id))
        log.append_now(event(4, type=EventType.TOOL_RESULT, decision=event(1).id))
    for asked in (2, 3):
        assert numbers(related(place.log, place.verifier, event(asked).id)) == [0, 2, 3]
    assert numbers(related(place.log, place.verifier, event(1).id)) == [1, 4]


def test_the_leaf_is_shown_as_it_was_hashed(place, event) -> None:
    place.fill(1)
    record = find(place.log, place.verifier, event(0).id)
    assert record.entry == msgspec.json.encode(event(0))
    with pytest.raises(Problem) as caught:
        find(place.log, place.verifier, "unknown")
    assert caught.value.code == "PC6004"


def test_events_acknowledged_but_not_yet_signed_are_found(place, event) -> None:
    with place.open(checkpoint_seconds=60) as log:
        for number in range(300):
            log.append_now(event(number))
        assert numbers(records(place.log, place.verifier)) == list(range(300))
        assert numbers(records(place.log, place.verifier, 250)) == list(range(250, 300))
        assert numbers(last(place.log, place.verifier, 3)) == [297, 298, 299]
        assert find(place.log, place.verifier, event(299).id).index == 299


def test_following_shows_each_event_once_and_as_it_comes(place, event) -> None:
    with place.open(checkpoint_seconds=0.01) as log:
        log.append_now(event(0))
        written = iter(range(1, 400))

        def later(_: float) -> None:
            for _ in range(50):
                log.append_now(event(next(written)))

        following = follow(place.log, place.verifier, 0, sleep=later)
        assert numbers(next(following) for _ in range(300)) == list(range(300))


def test_a_leaf_that_is_no_event_is_reported(place) -> None:
    place.fill(1)
    (place.log / "tile/entries/000.p/1").write_bytes(b"\0\2{}")
    with pytest.raises(Problem) as caught:
        list(records(place.log, place.verifier))
    assert caught.value.code == "PC6005"
