"""What every source of secrets promises: if these fail, a wrong credential goes out, or leaks."""

from __future__ import annotations

import secrets

import pytest

from portcullis.core.errors import Problem


def value() -> str:
    return "v-" + secrets.token_urlsafe(16)


def test_a_value_is_found_and_stays_the_same_object_while_it_is_unchanged(place):
    first = value()
    place.put(first)
    found = place.source.resolve(place.reference)
    assert found == first
    assert place.source.resolve(place.reference) is found
    assert place.source.anew(place.reference) == first


def test_a_changed_value_is_seen_when_it_is_asked_for_anew(place):
    place.put(value())
    before = place.source.resolve(place.reference)
    second = value()
    place.put(second)
    assert place.source.anew(place.reference) == second
    assert place.source.resolve(place.reference) == second
    assert before != second


def test_what_is_not_there_is_a_problem_that_says_its_reference(place):
    place.put(value())
    with pytest.raises(Problem) as caught:
        place.source.resolve(place.missing)
    assert caught.value.code == "PC5007"
    name = place.missing.partition(":")[2].partition("#")[0]
    assert name in caught.value.detail


@pytest.mark.parametrize("bad", ["", "   ", "two\\nlines"], ids=["empty", "blank", "lines"])
def test_what_no_header_could_hold_is_refused_without_its_value(place, bad):
    bad = bad if place.reference.startswith("aws-sm") else bad.replace("\\n", "\n")
    place.put(bad)
    with pytest.raises(Problem) as caught:
        place.source.resolve(place.reference)
    assert caught.value.code == "PC5007"
    assert "lines" not in caught.value.detail
