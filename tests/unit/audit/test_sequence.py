"""Numbers that a verifier can hold a session's events against, and never a false gap."""

from __future__ import annotations

from portcullis.audit.sequence import REST_SECONDS, Sequences


def taken(numbers: Sequences, session: str) -> int:
    number = numbers.following(session)
    numbers.taken(session, number)
    return number


def test_each_session_counts_from_one_and_what_is_in_none_does_not() -> None:
    numbers = Sequences()
    assert [taken(numbers, name) for name in ("a", "b", "a", "", "a", "b")] == [1, 1, 2, 0, 3, 2]


def test_an_event_that_was_refused_takes_no_number() -> None:
    numbers = Sequences()
    assert [numbers.following("a"), taken(numbers, "a"), numbers.following("a")] == [1, 1, 2]


def test_one_session_too_many_is_not_counted_and_costs_none_of_the_others_its_number() -> None:
    now = [0.0]
    numbers = Sequences(2, lambda: now[0])
    assert [taken(numbers, name) for name in ("a", "b", "c", "a", "c", "b")] == [1, 1, 0, 2, 0, 2]
    now[0] = REST_SECONDS - 1
    taken(numbers, "a")
    assert taken(numbers, "c") == 0
    now[0] = REST_SECONDS
    assert taken(numbers, "c") == 1  # in the place of b, which has rested longest
    assert [taken(numbers, name) for name in ("a", "b")] == [4, 0]
