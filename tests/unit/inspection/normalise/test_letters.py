"""If these fail, a long text is read as other letters than a short one."""

import random
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.inspection.letters import among, distinct, replaced
from portcullis.inspection.unhide import compatible, joins

LONG = 5000
ALPHABETS = {
    "latin": (*range(0xA0, 0x250), 0x61, 0x20),
    "marks": (*range(0x300, 0x340), *range(0x61, 0x7B), 0xA8, 0xE9, 0x1E69),
    "korean": (*range(0x1100, 0x1120), *range(0x1161, 0x1176), *range(0xAC00, 0xAC20), 0x3131),
    "kana": (*range(0xFF61, 0xFFA0), 0x304B, 0x3099, 0x309B),
    "devanagari": (*range(0x900, 0x980),),
    "forms": (*range(0xFB00, 0xFB50), *range(0xF900, 0xF940), 0x1D400),
}
TABLE = {chr(0x100 + at): chr(0x41 + at) for at in range(20)} | {
    "é": "",
    "ﬁ": "fi",
    "½": "1\u20442",
}


@pytest.mark.parametrize("name", ALPHABETS)
@pytest.mark.parametrize("rare", [1, 40])
def test_letter_by_letter_a_text_becomes_what_unicode_says(name: str, rare: int) -> None:
    chance = random.Random(name)
    alphabet = [chr(point) for point in ALPHABETS[name]] + ["b"] * (rare - 1) * 40
    for _ in range(20):
        text = "".join(chance.choices(alphabet, k=400))
        letters = "".join(letter for letter in set(text) if not letter.isascii())
        assert compatible(text, letters) == unicodedata.normalize("NFKC", text)


def test_every_letter_that_unicode_composes_is_known_to_join() -> None:
    parts = map(str.split, map(unicodedata.decomposition, map(chr, range(sys.maxunicode + 1))))
    second = {chr(int(one[1], 16)) for one in parts if len(one) == 2 and one[0][0] != "<"}
    assert len(second) > 50
    assert all(map(joins, second))
    assert all(joins(chr(point)) for point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from([*TABLE, "a", " ", "漢", "\U0001f600", "\ud800"]), max_size=60))
def test_a_long_text_is_replaced_as_a_short_one(text: str) -> None:
    expected = "".join(TABLE.get(letter, letter) for letter in text)
    assert replaced(text, TABLE) == expected
    many = -(-LONG // max(len(text), 1))
    assert replaced(text * many, TABLE) == expected * many


def test_the_letters_of_a_long_text_are_told_once_each() -> None:
    text = "aé漢\U0001f600" * LONG
    assert sorted(distinct(text)) == sorted("aé漢\U0001f600")
    assert list(among("xéx漢", "é漢\U0001f600")) == [False, True, False, True]
