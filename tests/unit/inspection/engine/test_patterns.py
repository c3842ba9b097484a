from __future__ import annotations

import contextlib
import random
import time

import pytest

from portcullis.core.errors import Problem
from portcullis.inspection import packs
from portcullis.inspection.patterns import MAX_MATCHES, Patterns
from portcullis.inspection.syntax import parse
from portcullis.inspection.writing import forward
from unit.inspection.engine.grammar import attacks, sample
from unit.inspection.engine.making import rule, spans

BOTH = pytest.mark.parametrize("accelerated", [None, False])


@BOTH
@pytest.mark.parametrize(
    ("edges", "text", "found"),
    [
        ({}, "1234 x1234 1234x _1234 12345 (1234)", ["1234", "1234"]),
        ({"left": "digit"}, "x1234 51234", ["1234"]),
        ({"right": "digit"}, "1234x 12345", ["1234"]),
        ({"left": "any", "right": "any"}, "x1234x", ["1234"]),
        ({}, "é1234é", ["1234"]),
    ],
)
def test_a_number_within_a_longer_one_is_none(
    *, accelerated: bool | None, edges: dict[str, str], text: str, found: list[str]
) -> None:
    patterns = Patterns([rule("[0-9]{4}", **edges)], accelerated=accelerated)
    assert [one for _, one in spans(text, patterns.scan([text])[0])] == found


@BOTH
def test_what_the_first_try_refuses_does_not_hide_what_begins_within_it(
    *,
    accelerated: bool | None,
) -> None:
    patterns = Patterns([rule("(?:aa|ab)[0-9]", right="any", left="any")], accelerated=accelerated)
    assert spans("aab1", patterns.scan(["aab1"])[0]) == [("THING", "ab1")]


@BOTH
def test_a_number_that_is_none_does_not_hide_the_one_that_begins_within_it(
    *,
    accelerated: bool | None,
) -> None:
    one = rule("[0-9](?:[.][0-9]){3}", validator="luhn")
    patterns = Patterns([one], accelerated=accelerated)
    text = "1.2.3.4.5.9 0.0.1.8.0.0.1.8.1"
    assert [found for _, found in spans(text, patterns.scan([text])[0])] == [
        "2.3.4.5",
        "0.0.1.8",
        "0.0.1.8",
    ]


@BOTH
def test_only_the_datum_is_masked_where_a_rule_names_a_group(*, accelerated: bool | None) -> None:
    patterns = Patterns([rule("(?i:pin)[:=]([0-9]{4});", group=1)], accelerated=accelerated)
    text = "PIN=1234; pin:99999; pin:5678;"
    assert [one for _, one in spans(text, patterns.scan([text])[0])] == ["1234", "5678"]


@BOTH
def test_context_decides_and_is_never_looked_for_too_far_away_or_after(
    *,
    accelerated: bool | None,
) -> None:
    must = rule("[0-9]{4}", "MUST", context=("card", "карта"), within=10)
    may = rule("[a-z][0-9]{3}", "MAY", context=("card",), required=False, score=0.9, base=0.3)
    patterns = Patterns([must, may], accelerated=accelerated)

    def scored(text: str) -> list[tuple[str, float]]:
        return [(one.entity, one.score) for one in patterns.scan([text])[0]]

    assert scored("my CARDS: 1234") == [("MUST", 1.0)]
    assert scored("Карта № 1234") == [("MUST", 1.0)]
    assert scored("discard 1234") == []
    assert scored("card and then 1234") == []
    assert scored("1234 is my card") == []
    assert scored("card a123") == [("MAY", 0.9)]
    assert scored("nothing a123") == [("MAY", 0.3)]
    assert patterns.scan(["card", "1234"]) == [(), ()]


@BOTH
def test_a_members_name_is_context_and_may_make_the_whole_value_a_match(
    *,
    accelerated: bool | None,
) -> None:
    pin = rule("[0-9]{4}", "PIN", context=("pin",), keys=("pin_code",))
    name = rule(entity="NAME", keys=("full_name",), whole=True, validator="mixed")
    patterns = Patterns([pin, name], accelerated=accelerated)
    texts = ["1234", "1234", " Ada 7 ", "Ada 7", "", "ADA"]
    keys = ["pinCode", "code", "Full-Name", "name", "full_name", "full_name"]
    found = patterns.scan(texts, keys)
    read = [spans(text, one) for text, one in zip(texts, found, strict=True)]
    assert read[:4] == [[("PIN", "1234")], [], [("NAME", "Ada 7")], []]
    assert read[4] == []


@BOTH
def test_weak_and_invalid_data_is_passed_over(*, accelerated: bool | None) -> None:
    strong = rule("[a-z0-9]{8}", "KEY", entropy=2.5)
    card = rule("[0-9]{16}", "CARD", validator="luhn")
    patterns = Patterns([strong, card], accelerated=accelerated)
    text = "aaaabbbb a1b2c3d4 4111111111111111 4111111111111112"
    assert spans(text, patterns.scan([text])[0]) == [
        ("KEY", "a1b2c3d4"),
        ("CARD", "4111111111111111"),
    ]


@BOTH
def test_offsets_count_characters_whatever_the_script(*, accelerated: bool | None) -> None:
    one = rule("[а-яé]{3}-[0-9]{2}", flags="i")  # noqa: RUF001 - Cyrillic
    patterns = Patterns([one], accelerated=accelerated)
    text = "\U0001f600 ü ЖЁ ЖЗИ-42 \ud800 ÉÉÉ-77"
    assert [one for _, one in spans(text, patterns.scan([text])[0])] == ["ЖЗИ-42", "ÉÉÉ-77"]


@BOTH
def test_a_datum_does_not_reach_over_the_end_of_a_text(*, accelerated: bool | None) -> None:
    patterns = Patterns([rule(r"a[^x]{0,5}b")], accelerated=accelerated)
    assert patterns.scan(["a", "b", "a b", ""])[0:2] == [(), ()]
    assert len(patterns.scan(["a", "b", "a b", ""])[2]) == 1


def test_the_engines_read_a_pattern_as_it_was_written() -> None:
    patterns = Patterns([rule(r"[^\W\d_]{2}\s\S{1,3}?!|x{1200}|(?:y{3}z?){2,400}", left="any")])
    for text in ["ab\tcdé!", "x" * 1200, "yyyz" * 3 + "yyy"]:
        assert spans(text, patterns.scan([text])[0]) == [("THING", text)]


def test_a_profile_sees_its_own_entities_and_shares_what_is_compiled() -> None:
    patterns = Patterns([rule("a[0-9]", "A"), rule("b[0-9]", "B"), rule("c[0-9]", "C")])
    some = patterns.only({"A", "C"})
    assert some is patterns.only(["C", "A"])
    assert [one.entity for one in some.scan(["a1 b1 c1"])[0]] == ["A", "C"]
    assert some.entities == {"A", "C"}
    assert patterns.only(()).scan(["a1"]) == [()]
    assert [one.entity for one in patterns.scan(["a1 b1 c1"])[0]] == ["A", "B", "C"]
    assert some._prefilter is patterns._prefilter


def test_the_longest_of_overlapping_matches_wins_and_the_rest_is_still_covered() -> None:
    patterns = Patterns(
        [
            rule("[a-z.]{1,9}@[a-z]{1,9}", "MAIL", right="any"),
            rule("[a-z]{1,9}/[a-z/]{1,30}", "LINK"),
            rule("[a-z]{3}/[a-z/]{3,30}", "SAME"),
        ]
    )
    text = "to a.b@host/path/more now"
    assert spans(text, patterns.scan([text])[0]) == [("MAIL", "a.b@"), ("LINK", "host/path/more")]


@BOTH
def test_a_flood_of_matches_is_refused_not_truncated(*, accelerated: bool | None) -> None:
    patterns = Patterns([rule("[0-9]{4}")], accelerated=accelerated)
    assert len(patterns.scan(["1234 " * MAX_MATCHES])[0]) == MAX_MATCHES
    with pytest.raises(Problem) as caught:
        patterns.scan(["1234 " * MAX_MATCHES, "1234"])
    assert caught.value.code == "PC3025"


def seconds(patterns: Patterns, text: str) -> float:
    """What it takes this thread to read a text, or to refuse it."""
    begin = time.thread_time()
    with contextlib.suppress(Problem):
        patterns.scan([text])
    return time.thread_time() - begin


def pace() -> float:
    """What some other work takes here and now, in the seconds that it takes when all is quiet."""
    begin = time.thread_time()
    sum(number * number for number in range(200_000))
    return (time.thread_time() - begin) / 0.008


def quick(patterns: Patterns, text: str, most: float) -> bool:
    """Whether reading a text takes less than ``most`` seconds, or would if nothing else ran."""
    return seconds(patterns, text) < most or any(
        seconds(patterns, text) < most * pace() for _ in range(3)
    )


def test_no_shipped_rule_has_a_text_that_takes_long(shipped: Patterns) -> None:
    source = random.Random(4)
    for one in packs.select(packs.builtin()):
        if one.parsed is not None:
            text = "".join(attacks(one.parsed.whole, source, 600))
            assert quick(shipped, text, 0.2), one.id


@pytest.mark.parametrize("unit", ["1234 5678 ", "a", "a.", "a@", "1.", "é ü ", "http://", "x=1\n"])
def test_a_megabyte_of_anything_is_read_or_refused_at_once(shipped: Patterns, unit: str) -> None:
    assert quick(shipped, unit * (2**20 // len(unit)), 0.4)


def test_a_text_made_from_a_pattern_matches_it_in_both_engines() -> None:
    source = random.Random(11)
    for pattern in ["(?:ab|[c-e]{2,3})x?[^a-z ]{2}", "[À-ÿ]{2}Ω", "(a|b){3}"]:
        patterns = [
            Patterns([rule(pattern, left="any", right="any")], accelerated=accelerated)
            for accelerated in (None, False)
        ]
        for _ in range(20):
            text = sample(parse(pattern).whole, source)
            assert all(one.scan([text])[0] for one in patterns), forward(parse(pattern).whole)
