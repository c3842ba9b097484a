"""What an attacker writes is seen as it is: nothing hides, moves other text, or is cut off."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.control.console.text import LONG, LONGEST, Budget, Value, visible
from portcullis.control.console.text import marked as marked_within

UNSEEN = ["\u202e", "\u200b", "\ufe0f", "\U000e0041", "\u00a0", "\x1b", "\r", "\u3164", "\u2800"]


def marked(text):
    return marked_within(text, Budget())


@pytest.mark.parametrize("character", UNSEEN)
def test_a_character_that_is_not_seen_is_shown_by_its_number(character):
    point = f"U+{ord(character):04X}"
    assert visible(f"a{character}b") == f"a⟨{point}⟩b"
    html = marked(f"a{character}b")
    assert character not in html
    assert f">{point}</mark>b" in html
    assert 'class="odd"' in html


@pytest.mark.parametrize("text", ["two\nlines", "a\ttab", "Größe 漢字 עברית", "", "\n\n"])
def test_plain_text_of_any_language_stays_as_it_is(text):
    assert visible(text) == text
    assert str(marked(text)) == text


def test_markup_is_text():
    assert marked("<b>\u202e") == (
        '&lt;b&gt;<mark class="odd" title="RIGHT-TO-LEFT OVERRIDE">U+202E</mark>'
    )


@given(st.text())
def test_nothing_unseen_is_left_and_nothing_seen_is_lost(text):
    shown = visible(text)
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    plain = [one for one in text if visible(one) == one]
    kept = iter(shown)
    assert all(one in kept for one in plain)  # in their order
    assert not any(unicodedata.category(one) in {"Cf", "Cc"} for one in shown if one not in "\n\t")


def test_many_hidden_characters_in_a_row_are_counted():
    assert visible("a" + "\u200b" * 12 + "b") == "a⟨U+200B x12⟩b"
    assert ">U+200B x12</mark>" in marked("\u200b" * 12)


@pytest.mark.parametrize("pattern", ["\u200b", "\u200b\u200c", "\u200bx\u202e", "\ue000\x07"])
def test_a_call_full_of_hidden_characters_does_not_hold_up_the_gate(pattern):
    text = pattern * (300_000 // len(pattern))
    began = time.process_time()
    marked(text)
    assert time.process_time() - began < 1.5  # a tenth of that on a machine that is quiet


def test_a_long_value_is_folded_and_there_in_full():
    shown = Value.of("x" * (LONG + 1))
    assert shown.folded
    assert len(shown.text) == LONG + 1
    assert "2001 characters" in shown.kind
    assert not Value.of("x" * LONG).folded
    assert Value.of("\n" * 40).folded


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("a", "text", "a"),
        (True, "yes or no", "true"),
        (3, "number", "3"),
        (0.5, "number", "0.5"),
        (None, "nothing", "null"),
        ([1, 2], "list of 2", "[\n  1,\n  2\n]"),
        ({"é": 1}, "object of 1", '{\n  "é": 1\n}'),
    ],
)
def test_a_value_says_what_it_is(value, kind, text):
    shown = Value.of(value)
    assert (shown.kind, shown.text) == (kind, text)


def test_a_text_that_is_cut_says_by_how_much_and_the_page_knows():
    budget = Budget()
    assert marked_within("x" * (LONGEST + 12_000), budget).endswith("⟨12 000 more⟩</mark>")
    assert budget.cut
    small = Budget(marks=2)
    assert "⟨2 more⟩" in marked_within("\u202e \u202ea\u202e\u202e", small)
    assert small.cut
    assert marked_within("a word of the gate", small) == "a word of the gate"
    assert not Budget().cut


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p\u0430ypal.com", "p⟨U+0430⟩ypal.com"),
        ("\u0430\u0440\u0440\u04cf\u0435.com", "⟨U+0430⟩⟨U+0440 x2⟩⟨U+04CF⟩⟨U+0435⟩.com"),
        ("IT-\u043e\u0442\u0434\u0435\u043b", "IT-\u043e\u0442\u0434\u0435\u043b"),
        ("\u0440\u043e\u0441\u0430", "\u0440\u043e\u0441\u0430"),
    ],
)
def test_a_letter_that_poses_as_another_is_marked_and_a_language_is_not(text, shown):
    assert visible(text) == shown
