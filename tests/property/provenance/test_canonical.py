import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from portcullis.provenance.canonical import canonical, keys, offers
from portcullis.provenance.numbers import exact
from portcullis.provenance.words import Words

pytestmark = pytest.mark.nightly
PIECES = st.sampled_from(
    [
        *"@.,- /:'#*()?=&_0\\\n\x1f\x1e\u00df\u0130\uff41\u200b\u1e9e\u03a3\u0345\u0307",
        *("bob", "Eve", "//", "http://", "www.", "com", "12", "1.000", "+49", "DE89", "3704"),
        *("%41", "..", "xn--", "a@b.co", "to:", "1234 5678 90"),
    ]
)
TEXT = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40)
WORD = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)


@settings(max_examples=examples(150), deadline=None)
@given(TEXT)
def test_canonical_of_canonical_is_the_same(text):
    once = canonical(text)
    assert canonical(once) == once


def test_every_letter_has_one_canonical_form():
    for point in range(sys.maxunicode + 1):
        letter = chr(point)
        if 0xD800 <= point < 0xE000 or (letter.isalpha() and letter.lower() == letter):
            continue  # surrogates, and letters that have no case
        if unicodedata.category(letter) in {"Cn", "Co"}:
            continue
        once = canonical(f"x{letter}y")
        assert canonical(once) == once, hex(point)


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(WORD, min_size=1, max_size=8), st.integers(0, 7), st.integers(0, 12), WORD)
def test_a_part_of_a_word_is_never_a_match(spoken, which, cut, other):
    words = Words.of([" ".join(spoken)])
    word = spoken[which % len(spoken)]
    for value in (word[:cut], word[cut:], word + other, other + word):
        if value not in spoken:
            assert not any(map(words.say, keys(value)))


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(WORD, min_size=1, max_size=8), st.data())
def test_every_run_of_whole_words_is_a_match(spoken, data):
    first = data.draw(st.integers(0, len(spoken) - 1))
    last = data.draw(st.integers(first, len(spoken) - 1))
    words = Words.of([", ".join(spoken)])
    assert any(map(words.say, keys(" ".join(spoken[first : last + 1]))))


@settings(max_examples=examples(80), deadline=None)
@given(TEXT, TEXT)
def test_a_trusted_text_vouches_for_no_other_letters(trusted, value):
    """Equal keys come of texts with the same letters and digits, once what is equal by the
    standards for URLs, names and case is undone by other means than ours."""
    if offers(trusted) & set(keys(value)):
        plain = [
            "".join(one for one in unicodedata.normalize("NFC", text.lower()) if one.isalnum())
            for text in (trusted, value)
        ]
        same = {one.replace("https", "").replace("http", "") for one in plain}
        escaped = any(sign in trusted + value for sign in ("%41", "xn--", "//", "\u00df", ".."))
        assert len(same) == 1 or escaped


@settings(max_examples=examples(80), deadline=None)
@given(st.decimals(-(10**9), 10**9, places=2, allow_nan=False))
def test_a_number_is_found_however_it_is_grouped(number):
    plain = f"{number:.2f}"
    english = f"{number:,.2f}"
    european = english.translate(str.maketrans(",.", ".,"))
    for text in (plain, english, european):
        words = Words.of([f"pay {text} now"])
        assert any(map(words.say, keys(float(number))))
        assert exact(text) == (None if text is european and "," in text else exact(plain))
        assert any(map(words.say, keys(float(number), number=True)))
