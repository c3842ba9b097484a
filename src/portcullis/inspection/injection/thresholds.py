"""From a sum of weights to a score and a verdict, for each source of text.

The thresholds are calibrated for each source on benign text that the scoring model had not seen:
``suspect`` is passed by about 1 % of it, ``injection`` by 0.1 to 0.2 %.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec

from portcullis.core.inspection import InjectionVerdict

SUSPECT: Final = 0.5
INJECTION: Final = 0.9
_SCALE: Final = 2.0


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sums of weights at which a text is suspect, and an injection; ``head`` weighs its grams."""

    head: str

    suspect: Annotated[float, msgspec.Meta(gt=0)]
    injection: Annotated[float, msgspec.Meta(gt=0)]

    def __post_init__(self) -> None:
        if not self.suspect < self.injection:
            raise ValueError("not in the order suspect, injection")

    def score(self, total: float, floor: float) -> float:
        """0 to 1, growing with the sum: 0 at ``floor``, 0.5 at ``suspect``, 0.9 at ``injection``.

        It is linear between these, and above goes towards 1.
        """
        if total < self.suspect:
            return SUSPECT * max(0.0, total - floor) / (self.suspect - floor)
        if total < self.injection:
            part = (total - self.suspect) / (self.injection - self.suspect)
            return SUSPECT + (INJECTION - SUSPECT) * part
        return 1 - (1 - INJECTION) * math.exp((self.injection - total) / _SCALE)

    def verdict(self, total: float) -> InjectionVerdict:
        """What the sum means."""
        if total >= self.injection:
            return InjectionVerdict.INJECTION
        return InjectionVerdict.SUSPECT if total >= self.suspect else InjectionVerdict.CLEAN
