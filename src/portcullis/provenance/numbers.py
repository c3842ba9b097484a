"""Numbers as people and programs write them: 1.000,50 and 1,000.50 and 1000.5."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from enum import Enum
from typing import Any, Final

_CURRENCY: Final = r"(?:[$\u20ac\u00a3\u00a5]|eur|usd|gbp|chf)"
_WRITTEN: Final = re.compile(
    rf"(?P<before>-?){_CURRENCY}?(?P<sign>[-+]?)(?P<number>[0-9][0-9.,'\u2019]*)"
    rf"(?:,?-)?{_CURRENCY}?%?",
    re.IGNORECASE,
)
_PLAIN: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:[.,][0-9]+)?")
_THREE: Final = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
_ENGLISH: Final = re.compile(r"[1-9][0-9]{0,2}(?:[,'\u2019][0-9]{3})+(?:\.[0-9]+)?")
_EUROPEAN: Final = re.compile(r"[1-9][0-9]{0,2}(?:[.'\u2019][0-9]{3})+(?:,[0-9]+)?")
_CANDIDATE: Final = re.compile(r"(?<![\w.,])[0-9][0-9.,'\u2019]{0,40}[0-9](?!\w)")
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,40})")
_LONGEST: Final = 48
_ACCOUNT: Final = 8
"""Digits without any sign from which on a number is hardly an amount."""
_YEAR: Final = 4
_DATING: Final = re.compile(
    r"in|of|by|since|until|year|[0-9]{1,2}(?:st|nd|rd|th)"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
)
"""What stands before a year."""


class Style(Enum):
    """Which sign a writer puts before the decimals: ENGLISH a point, EUROPEAN a comma."""

    ENGLISH = "."
    EUROPEAN = ","


def style(text: str) -> Style:
    """How a text writes its numbers.

    English, unless all that can be told apart are European (``1.000,50``, ``3,50``).
    """
    votes = {_vote(found.group()) for found in _CANDIDATE.finditer(text)}
    return Style.EUROPEAN if votes - {None} == {Style.EUROPEAN} else Style.ENGLISH


def _vote(number: str) -> Style | None:
    if _THREE.fullmatch(number):
        return None
    if _EUROPEAN.fullmatch(number) and not _ENGLISH.fullmatch(number):
        return Style.EUROPEAN
    if _ENGLISH.fullmatch(number):
        return Style.ENGLISH
    if _PLAIN.fullmatch(number) and not number.isdigit():
        return Style.EUROPEAN if "," in number else Style.ENGLISH
    return None


def readings(token: str, how: Style) -> tuple[str, ...]:
    """The number that a writer of this style means by a token, in its shortest form, if any."""
    if token.isalpha():
        return ()
    found = _WRITTEN.fullmatch(token) if len(token) <= _LONGEST else None
    if found is None:
        return ()
    number = found["number"].rstrip(".,'\u2019")
    minus = "-" if found["before"] or found["sign"] == "-" else ""
    grouped, point = (_ENGLISH, ".") if how is Style.ENGLISH else (_EUROPEAN, ",")
    other, comma = (_EUROPEAN, ",") if how is Style.ENGLISH else (_ENGLISH, ".")
    for form, decimal in ((grouped, point), (_PLAIN, point), (other, comma), (_PLAIN, comma)):
        if form.fullmatch(number) and (form is not _PLAIN or decimal in number or number.isdigit()):
            bare = "".join(one for one in number if one.isdigit() or one == decimal)
            return (shortest(Decimal(minus + bare.replace(decimal, "."))),)
    return ()


def amount(token: str, before: str) -> bool:
    """Whether somebody may mean an amount by a number: no account's number and no year.

    ``before`` is the word before it: in ``in May 2024`` no amount is meant.
    """
    if not token.isdigit():
        return True
    year = len(token) == _YEAR and token[:2] in {"19", "20"}
    return len(token) < _ACCOUNT and not (year and _DATING.fullmatch(before))


def exact(text: str) -> str | None:
    """The number that a text is, whoever reads it; None where readers may differ (``1.000``)."""
    found = _WRITTEN.fullmatch(text) if len(text) <= _LONGEST else None
    number = "" if found is None else found["number"]
    if not number[-1:].isdigit() or _THREE.fullmatch(number):
        return None
    if "," in number and not _ENGLISH.fullmatch(number):  # without the comma it is another one
        return None
    both = {readings(text, how) for how in Style}
    only = both.pop()
    return only[0] if not both and only else None


def integer(text: str) -> str | None:
    """The number that a text of digits is when it has no zeros in front."""
    return text if _INTEGER.fullmatch(text) and text != "-0" else None


def plain(value: Any) -> str | None:
    """The shortest decimal form of a JSON number; None for anything else, NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else None
    if not math.isfinite(value):
        return None
    return shortest(Decimal(repr(value)))


def shortest(number: Decimal) -> str:
    """A number without needless zeros and without an exponent."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text
