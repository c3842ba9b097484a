"""Amounts that follow from what the user said by the arithmetic that he asked for.

``Send them the difference of 10 %`` names no amount, but with an amount that is trusted it leads
to one. The user gives the percentage or the other number and the word for what is to be done with
it; the catalogue says which amounts are trusted. Nothing else is reckoned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from portcullis.provenance import numbers

MAX_NUMBERS: Final = 8
"""Percentages, and other numbers, of the user's that are reckoned with."""

_PERCENT: Final = frozenset({"%", "percent", "pct"})
_DIFFERENCE: Final = frozenset(
    {"difference", "rest", "remaining", "remainder", "plus", "minus", "fee", "fees", "additional"}
    | {"extra", "surplus", "overpaid", "underpaid"}
)
_PART: Final = frozenset({"half", "share", "split"})
_CENT: Final = Decimal("0.01")
_HUNDRED: Final = Decimal(100)
_MOST: Final = Decimal(10) ** 15


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """The arithmetic that the user's words ask for.

    ``percents`` and ``amounts`` are his numbers in their shortest decimal form; ``differs`` says
    that he speaks of a difference or of something that comes on top, ``shared`` that it is halved.
    """

    percents: frozenset[str] = frozenset()
    amounts: frozenset[str] = frozenset()
    differs: bool = False
    shared: bool = False

    def join(self, other: Sums) -> Sums:
        """That of two turns of the user's."""
        return Sums(
            percents=_few(self.percents | other.percents),
            amounts=_few(self.amounts | other.amounts),
            differs=self.differs or other.differs,
            shared=self.shared or other.shared,
        )

    def lead_to(self, amount: str, trusted: Callable[[str], bool]) -> bool:
        """Whether an amount follows from one that is trusted.

        Numbers are in their shortest decimal form; ``trusted`` is asked about each candidate.
        """
        if not self.percents and not self.differs:
            return False
        whole = Decimal(amount)
        if not 0 < whole < _MOST or whole != whole.quantize(_CENT):
            return False
        return any(
            0 < base < _MOST and trusted(numbers.shortest(base)) for base in self._bases(whole)
        )

    def _bases(self, whole: Decimal) -> Iterator[Decimal]:
        """The amounts from which this one follows."""
        said = [Decimal(one) for one in sorted(self.amounts)]
        extras = [Decimal(0), *said] if self.differs else [Decimal(0)]
        for percent in sorted(self.percents):
            share = Decimal(percent) / _HUNDRED
            for factor in (share, 1 + share, 1 - share):
                for extra in extras:
                    yield from _before(whole, factor, extra)
        if self.differs:
            for one in (*said, *(each / 2 for each in said if self.shared)):
                yield from (whole + one, whole - one, one - whole)


def _before(whole: Decimal, factor: Decimal, extra: Decimal) -> Iterator[Decimal]:
    """What, times the factor and with the extra on top, is this much, to the cent."""
    if factor <= 0:
        return
    base = ((whole - extra) / factor).quantize(_CENT, ROUND_HALF_UP)
    if (base * factor + extra).quantize(_CENT, ROUND_HALF_UP) == whole.quantize(_CENT):
        yield base


def sums(tokens: Sequence[str], style: numbers.Style) -> Sums:
    """The arithmetic in one text, given as its tokens in order."""
    percents, amounts = set[str](), set[str]()
    for at, token in enumerate(tokens):
        if token.isalpha():
            continue
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        percent = token.endswith("%") or following in _PERCENT
        before = tokens[at - 1] if at else ""
        if percent or numbers.amount(token, before):
            found = (one for one in numbers.readings(token, style) if not one.startswith("-"))
            (percents if percent else amounts).update(found)
    words = frozenset(tokens)
    return Sums(
        percents=_few(percents),
        amounts=_few(amounts),
        differs=not words.isdisjoint(_DIFFERENCE),
        shared=not words.isdisjoint(_PART),
    )


def _few(found: set[str] | frozenset[str]) -> frozenset[str]:
    """All of them, or none of too many: reckoning with many numbers proves nothing."""
    return frozenset(found) if len(found) <= MAX_NUMBERS else frozenset()
