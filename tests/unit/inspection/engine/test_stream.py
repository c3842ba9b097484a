from __future__ import annotations

import pytest

from portcullis.core.errors import Problem
from portcullis.core.inspection import Category
from portcullis.inspection.patterns import MAX_MATCHES, Patterns, PatternStream
from unit.inspection.engine.making import rule, spans

TOKEN = rule("tok_[a-z]{6}", "TOKEN")


def fed(stream: PatternStream, *pieces: str) -> list[int]:
    return [stream.feed(piece).settled for piece in pieces]


def test_prose_goes_on_at_once() -> None:
    stream = Patterns([TOKEN, rule("[0-9]{4}-[0-9]{4}", "PAIR")]).stream()
    assert fed(stream, "The cat ", "sat, and then", " it rained.") == [8, 21, 32]


def test_nothing_but_what_may_become_a_datum_is_held() -> None:
    stream = Patterns([TOKEN]).stream()
    assert fed(stream, "a t", "o", "m; to", "k_abc", "de") == [2, 2, 7, 7, 7]
    settled, found = stream.feed("f")
    assert (settled, found) == (7, ())
    settled, found = stream.feed(" end")
    assert settled == 21
    assert [(one.start, one.end) for one in found] == [(7, 17)]


def test_a_token_at_the_very_end_is_found_when_the_text_ends() -> None:
    stream = Patterns([TOKEN]).stream()
    assert fed(stream, "is tok_abcdef") == [3]
    settled, found = stream.end()
    assert settled == 13
    assert [(one.start, one.end) for one in found] == [(3, 13)]


def test_a_token_that_turns_out_longer_is_none_and_goes_on() -> None:
    stream = Patterns([TOKEN]).stream()
    assert fed(stream, "tok_abcdef", "g") == [0, 11]
    assert stream.end() == (11, ())


def test_of_a_rule_with_a_group_only_the_datum_is_held() -> None:
    stream = Patterns([rule("pin: {1,3}([0-9]{4});", "PIN", group=1, right="any")]).stream()
    assert fed(stream, "my pin", ": ", " 1", "234") == [6, 8, 9, 9]
    settled, found = stream.feed(";")
    assert settled == 14
    assert [(one.start, one.end) for one in found] == [(9, 13)]


def test_a_group_in_one_piece_is_held_from_its_own_beginning() -> None:
    stream = Patterns([rule("pin: {1,3}([0-9]{4});", "PIN", group=1)]).stream()
    assert fed(stream, "my pin:  12") == [9]


@pytest.mark.parametrize(
    "text",
    [
        "the tok_abcdef end",
        "nettok_abcdef end",
        "net tok_abcdeftok_ghijkltok_mnopqr",
        "t tottok_abcdeftto",
        "\\ntok_abcdef.tok_ghijkl",
        "mitttok_abcdef \u00e9 tok_ghijkl",
    ],
)
def test_a_token_within_a_word_counts_without_its_first_letter_in_streams_too(text: str) -> None:
    one = rule("tok_[a-z]{6}", "TOKEN", left="any", right="any", category=Category.SECRET)
    patterns = Patterns([one])
    whole = spans(text, patterns.scan([text])[0])
    assert {found.lstrip("t") for _, found in whole} <= {"ok_abcdef", "ok_ghijkl", "ok_mnopqr"}
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            stream = patterns.stream()
            found = []
            for piece in (text[:first], text[first:second], text[second:]):
                found += stream.feed(piece).matches
            found += stream.end().matches
            assert spans(text, found) == whole


def test_a_word_that_ends_like_a_token_begins_is_not_waited_for() -> None:
    one = rule("tok_[a-z]{6}", "TOKEN", left="any", category=Category.SECRET)
    stream = Patterns([one]).stream()
    assert fed(stream, "It", " t", "o", " sit", "to", "k_abcde") == [2, 3, 3, 9, 9, 9]


@pytest.mark.parametrize("letter", ["é", "ก", "漢", "\U0001f600"])
def test_a_datum_of_any_script_is_held_whole(letter: str) -> None:
    patterns = Patterns([rule("key:[^ ]{2,40}[^ .]", "KEY", right="any")])
    text = f"a key:ab{letter}cd{letter} b"
    stream = patterns.stream()
    steps = [stream.feed(piece) for piece in text]
    found = [one for step in (*steps, stream.end()) for one in step.matches]
    assert [(one.start, one.end) for one in found] == [(2, 12)]


def test_context_that_is_long_gone_still_counts() -> None:
    stream = Patterns([rule("[0-9]{4}", "PIN", context=("pin",), within=20)]).stream()
    fed(stream, *"my pin, my dear, is ")
    settled, found = stream.feed("1234 ")
    assert settled == 25
    assert [one.entity for one in found] == ["PIN"]


def test_what_straddles_the_place_that_is_sure_is_held_whole() -> None:
    patterns = Patterns([rule("[a-z]{3} [a-z]{3}", "PAIR"), rule("c[a-z] [a-z]{9}", "LONG")])
    stream = patterns.stream()
    steps = [stream.feed(piece) for piece in "abc def ghi"]
    text = "abc def ghi"
    found = [one for step in (*steps, stream.end()) for one in step.matches]
    assert spans(text, tuple(found)) == spans(text, patterns.scan([text])[0])


def test_a_chain_of_overlapping_matches_does_not_hold_the_stream_for_ever() -> None:
    patterns = Patterns(
        [
            rule("a{3}b{3}a{3}", "A", left="any", right="any"),
            rule("b{3}a{3}b{3}", "B", left="any", right="any"),
        ]
    )
    stream = patterns.stream()
    text = "aaabbb" * 4000
    found = []
    for place in range(0, len(text), 500):
        step = stream.feed(text[place : place + 500])
        found += step.matches
        assert place + 500 - step.settled < 2 * 8192
    found += stream.end().matches
    assert tuple(found) == patterns.scan([text])[0]


def test_a_long_key_in_small_pieces_is_held_until_it_is_known() -> None:
    patterns = Patterns([rule("BEGIN[a-z]{64,4000}END", "KEY")])
    stream = patterns.stream()
    text = "x BEGIN" + "k" * 3000 + "END y"
    steps = [stream.feed(text[place : place + 7]) for place in range(0, len(text), 7)]
    assert {step.settled for step in steps[1:-3]} == {2}
    found = [one for step in (*steps, stream.end()) for one in step.matches]
    assert [(one.start, one.end) for one in found] == [(2, 3010)]


def test_what_can_be_nothing_longer_than_any_rule_is_let_go() -> None:
    stream = Patterns([rule("BEGIN[a-z]{64,4000}END", "KEY")]).stream()
    assert stream.feed("BEGIN" + "k" * 9000).settled > 0


def test_a_stream_refuses_a_flood_in_one_piece() -> None:
    stream = Patterns([rule("[0-9]{4}")]).stream()
    with pytest.raises(Problem, match="PC3025"):
        stream.feed("1234 " * (MAX_MATCHES + 1))


def test_a_profile_without_entities_holds_nothing(shipped: Patterns) -> None:
    stream = shipped.only(()).stream()
    assert fed(stream, "4111", "1111") == [4, 8]
    assert stream.end() == (8, ())


def test_the_shipped_rules_let_prose_go_word_by_word(shipped: Patterns) -> None:
    stream = shipped.stream()
    text = "the committee met on a rainy afternoon to discuss what was to be done; nobody knew. "
    for place in range(len(text)):
        settled = stream.feed(text[place]).settled
        assert place + 1 - settled <= 24


def test_a_long_word_does_not_wait_for_the_longest_key_of_all_rules(shipped: Patterns) -> None:
    stream = shipped.stream()
    settled = [stream.feed("acgt" * 16).settled for _ in range(100)]
    assert max((at + 1) * 64 - cut for at, cut in enumerate(settled)) <= 1100
