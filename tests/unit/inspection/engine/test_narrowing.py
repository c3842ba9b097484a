from __future__ import annotations

import random

import pytest

from portcullis.inspection.narrowing import sure, told_apart
from portcullis.inspection.syntax import parse
from portcullis.inspection.writing import alphabet, firsts
from unit.inspection.engine.making import rule

AFTER = frozenset(range(256)) - frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz_")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("key-[a-z0-9]{8}", True),
        ("(?:25[0-5]|1?[0-9]{1,2})(?:[.][0-9]{1,3}){3}", True),
        ("[0-9]{2,4}[.][0-9]{1,2}", True),
        ("[0-9]{2}(?:[.][0-9]{2}){1,2}", False),
        ("a[. ]{0,2}b?", False),
        ("(?:a|a[.]b)", False),
        ("é[0-9]{2}", False),
        (r"[0-9]{2}\b.[0-9]", False),
        ("[a-z]{65}", False),
    ],
)
def test_a_hit_is_taken_for_the_match_only_where_it_can_end_in_one_place(
    pattern: str, *, told: bool
) -> None:
    assert told_apart(parse(pattern).whole, AFTER) is told


@pytest.mark.parametrize(
    ("pattern", "longest"),
    [
        ("[a-z]{1,90}@[a-z]{2}", 4 + 90 - 1),
        ("[a-z]{1,90}?@", 0),
        ("[^ ]{1,90}@", 0),
        (r"[a-z]{1,90}\B@", 0),
    ],
)
def test_a_loose_match_is_believed_only_while_it_cannot_be_too_long(
    pattern: str, longest: int
) -> None:
    assert sure(parse(pattern).whole, 32, edged=True) == longest


def test_every_byte_that_a_character_can_begin_with_is_known() -> None:
    source = random.Random(5)
    edges = [0x80, 0x7FF, 0x800, 0xFFF, 0xFFFF, 0x10000, 0x3FFFF, 0x10FFFF]
    for _ in range(60):
        low, high = sorted(source.choice([*edges, source.randint(0x80, 0x10FFFF)]) for _ in "ab")
        node = rule(f"[\\U{low:08x}-\\U{high:08x}]").parsed
        assert node is not None
        points = {low, high, *(source.randint(low, high) for _ in range(40))}
        begins = {chr(point).encode("utf-8", "surrogatepass")[0] for point in points}
        assert begins <= firsts(node.whole)[0] <= alphabet(node.whole)
