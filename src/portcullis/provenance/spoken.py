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
_BEGINS: Final = frozenset({"a", "an", "another", "single", "both", "couple", "pair", "dozen"})
"""Words that begin a number and never go on with one: ``twenty a month``."""
_LARGE: Final = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_MOST: Final = 10**12
_FIRST_TEN: Final = 20
_UNITS: Final = 10

_DOT: Final = r"(?:\s+dot\s+|\s*[\[(]dot[\])]\s*|\.)"
_AT: Final = r"(?:\s+at\s+|\s*[\[(]at[\])]\s*|\s+@\s+)"
_NAME: Final = r"[A-Za-z0-9_+-]{1,64}"
_ADDRESS: Final = re.compile(
    rf"(?<![\w.@'\u2019+-])(?P<local>{_NAME}(?:{_DOT}{_NAME}){{0,4}})(?P<at>{_AT})"
    rf"(?P<domain>{_NAME}(?:{_DOT}{_NAME}){{1,4}})(?![\w@])",
    re.IGNORECASE,
)
_SAID_DOT: Final = re.compile(r"\s+dot\s+|[\[(]dot[\])]", re.IGNORECASE)
_TOLD: Final = frozenset({"to", "cc", "mail", "email", "e-mail", "write", "is", "address"})
_ANY_DOT: Final = re.compile(_DOT, re.IGNORECASE)


def addresses(text: str) -> tuple[str, ...]:
    """The e-mail addresses that a text reads aloud: ``bob dot smith at mail dot example``.

    ``the article at blog dot example`` is none: the host has to be read aloud too, and so has the
    name, unless a word before it says that an address comes.
    """
    found = (
        f"{_ANY_DOT.sub('.', one['local'])}@{_ANY_DOT.sub('.', one['domain'])}"
        for one in _ADDRESS.finditer(text)
        if one["at"].strip()[0] in "[(" or _is_address(text, one)
    )
    return tuple(found)


def _is_address(text: str, found: re.Match[str]) -> bool:
    before = text[: found.start()].split()[-1:]
    told = bool(before) and before[0].lower().strip(".,:;()") in _TOLD
    named = told or _SAID_DOT.search(found["local"]) is not None
    return named and _SAID_DOT.search(found["domain"]) is not None


def numbers(tokens: Sequence[str]) -> Iterator[str]:
    """The numbers that tokens in small letters spell, the longest run of them each.

    An article is one. ``two hundred and fifty`` is 250; ``twelve fifty`` is two numbers.
    """
    whole = part = 0
    begun = False
    for token in (*tokens, ""):
        pieces = token.split("-")
        for piece in pieces if all(one in _SMALL or one in _LARGE for one in pieces) else (token,):
            if piece in _LARGE and begun and whole + part < _MOST:
                scale = _LARGE[piece]
                small = scale == min(_LARGE.values())
                whole, part = (whole, part * scale) if small else (whole + part * scale, 0)
            elif begun and _goes_on(piece, part or whole):
                part += _SMALL[piece]
            elif piece != "and" or not begun:
                if begun:
                    yield str(whole + part)
                begun = piece in _SMALL
                whole, part = 0, _SMALL.get(piece, 0)


def _goes_on(piece: str, before: int) -> bool:
    """Whether it is said after it, in one number: five after twenty, fifty after a hundred."""
    if piece not in _SMALL or piece in _BEGINS:
        return False
    more = _SMALL[piece]
    if 0 < more < _UNITS:
        return before % 100 == 0 or (before % 10 == 0 and before % 100 >= _FIRST_TEN)
    return before % 100 == 0
