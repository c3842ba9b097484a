"""What people say in words: numbers spelt out, and addresses read aloud.

Generous, and hence for the user's side only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL: Final = {
    **{word: value for value, word in enumerate(_ONES)},
    **{word: 10 * ten for ten, word in enumerate(_TENS, 2)},
    **dict.fromkeys(("a", "an", "another", "single"), 1),
    **dict.fromkeys(("both", "couple", "pair"), 2),
    "dozen": 12,
}
_LARGE: Final = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_FIRST_TEN: Final = 20
_UNITS: Final = 10

_DOT: Final = r"(?:\s+dot\s+|\s*[\[(]dot[\])]\s*|\.)"
_AT: Final = r"(?:\s+at\s+|\s*[\[(]at[\])]\s*|\s+@\s+)"
_NAME: Final = r"[A-Za-z0-9_+-]{1,64}"
_ADDRESS: Final = re.compile(
    rf"(?<![\w.@'\u2019])(?P<local>{_NAME}(?:{_DOT}{_NAME}){{0,4}}){_AT}"
    rf"(?P<domain>{_NAME}(?:{_DOT}{_NAME}){{1,4}})(?![\w@])",
    re.IGNORECASE,
)
_ANY_DOT: Final = re.compile(_DOT, re.IGNORECASE)


def addresses(text: str) -> tuple[str, ...]:
    """The e-mail addresses that a text reads aloud: ``bob dot smith at mail dot example``."""
    found = (
        f"{_ANY_DOT.sub('.', one['local'])}@{_ANY_DOT.sub('.', one['domain'])}"
        for one in _ADDRESS.finditer(text)
    )
    return tuple(found)


def numbers(tokens: Sequence[str]) -> Iterator[str]:
    """The numbers that tokens in small letters spell, the longest run of them each.

    An article is one. ``two hundred and fifty`` is 250; ``twelve fifty`` is two numbers.
    """
    whole = part = 0
    begun = False
    for token in (*tokens, ""):
        pieces = token.split("-")
        for piece in pieces if all(one in _SMALL or one in _LARGE for one in pieces) else (token,):
            if piece in _LARGE and begun:
                scale = _LARGE[piece]
                whole, part = (
                    (whole, part * scale)
                    if scale == min(_LARGE.values())
                    else (
                        whole + part * scale,
                        0,
                    )
                )
            elif piece in _SMALL and begun and _follows(part or whole, _SMALL[piece]):
                part += _SMALL[piece]
            elif piece != "and" or not begun:
                if begun:
                    yield str(whole + part)
                begun = piece in _SMALL
                whole, part = 0, _SMALL.get(piece, 0)


def _follows(before: int, more: int) -> bool:
    """Whether it is said after it, in one number: five after twenty, fifty after a hundred."""
    if 0 < more < _UNITS:
        return before % 100 == 0 or (before % 10 == 0 and before % 100 >= _FIRST_TEN)
    return before % 100 == 0
