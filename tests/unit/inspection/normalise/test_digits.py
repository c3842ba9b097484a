"""If these fail, a number in digits of another script is one to a model, and none to the gate."""

import sys
import unicodedata

import pytest

from portcullis.inspection.digits import DIGIT, DIGITS
from portcullis.inspection.normalise import layers, plain

NUMBER = "4111 1111 1111 1111, 0987-65 43.2"
ZEROS = {"Arabic": 0x660, "Persian": 0x6F0, "Devanagari": 0x966, "Thai": 0xE50, "Adlam": 0x1E950}


def written(number, zero):
    return "".join(chr(zero + int(sign)) if sign.isdigit() else sign for sign in number)


def test_every_decimal_digit_that_unicode_knows_reads_as_ascii():
    known = [point for point in range(0x80, sys.maxunicode) if chr(point).isdecimal()]
    assert len(known) >= 650
    for letter in map(chr, known):
        read = DIGITS.get(letter) or unicodedata.normalize("NFKC", letter)
        assert read == str(unicodedata.decimal(letter))


@pytest.mark.parametrize("script", ZEROS)
@pytest.mark.parametrize("length", [1, 500], ids=["short", "long"])
def test_a_number_reads_the_same_in_any_script_and_that_is_no_trick(script, length):
    text = f"\u0628\u0637\u0627\u0642\u0629 {NUMBER} \u0986\u09ae\u09bf " * length
    found = layers(written(text, ZEROS[script]))
    assert found == (text, (), (), ())
    assert plain(written(NUMBER, ZEROS[script])) == NUMBER


def test_among_so_many_marks_that_only_ascii_is_read_digits_are_read():
    flooded = written(NUMBER, 0x660) + "a" + "\u0301" * 40
    assert layers(flooded).text == f"{NUMBER}a"


def test_a_character_class_holds_them_all_and_nothing_else():
    ranges = [(DIGIT[at], DIGIT[at + 2]) for at in range(0, len(DIGIT), 3)]
    held = {chr(p) for first, last in ranges for p in range(ord(first), ord(last) + 1)}
    assert held == DIGITS.keys()
