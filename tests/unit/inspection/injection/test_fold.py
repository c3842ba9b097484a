import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.inspection.injection import fold


def test_what_rules_cannot_match_on_is_gone() -> None:
    assert fold.fold("   Don't\tSTOP -- now!!! (ok)") == b"  dont stop  now.  ok  "
    assert fold.fold("«Ça», l\u2019été。") == "  ça  lété. ".encode()
    assert fold.fold("<|im_start|>System: x") == b" <|im_start|>system: x "
    assert fold.fold("") == b"  "


@pytest.mark.parametrize("blank", ["\x85", "\xa0", "\u1680", "\u2028", "\u2029", "\u2800"])
def test_words_with_any_blank_between_them_are_words(blank: str) -> None:
    assert fold.fold(f"Ignore{blank}all{blank}of it") == fold.fold("Ignore all of it")


def test_a_half_character_does_not_stop_the_detector() -> None:
    assert fold.fold("a\ud800b") == b" a.b "


def test_windows_overlap_and_cover_everything() -> None:
    data = fold.fold("word " * 400)
    windows = fold.windows(data)
    assert windows[0].startswith(data[:1])
    assert windows[-1] == data[-len(windows[-1]) :]
    assert all(window.endswith(b" ") for window in windows)
    assert all(fold.STRIDE < len(window) <= 2 * fold.STRIDE + fold.SLACK + 1 for window in windows)
    assert fold.windows(b"  ") == [b"  "]


@given(st.text(), st.text())
def test_pieces_joined_are_the_whole(first: str, second: str) -> None:
    begun = b" " + fold.join(b" ", fold.piece(first))
    both = begun + fold.join(begun, fold.piece(second))
    assert both + fold.join(both, b" ") == fold.fold(first + second)


@given(st.lists(st.sampled_from([b" ", b"  ", b".", b"..", b"a", b"\xc3\xa9"])).map(b"".join))
def test_of_spaces_two_are_left_and_of_full_stops_one(data: bytes) -> None:
    assert fold.squeezed(data) == re.sub(rb"\.+", b".", re.sub(b" {3,}", b"  ", data))
