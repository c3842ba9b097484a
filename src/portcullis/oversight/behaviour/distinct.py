"""How many different things there were, in bounded memory: the k smallest hashes say (KMV)."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

_KEPT: Final = 128
_RANGE: Final = 2**32


class Distinct(msgspec.Struct):
    """Counts to within about a tenth; exact up to ``_KEPT``."""

    hashes: set[int] = set()
    bound: int = _RANGE

    def add(self, value: str) -> None:
        """See a value."""
        found = zlib.crc32(value.encode("utf-8", "surrogatepass"))
        if found < self.bound and found not in self.hashes:
            self.hashes.add(found)
            if len(self.hashes) > 2 * _KEPT:
                self._shrink()

    def _shrink(self) -> None:
        kept = sorted(self.hashes)[:_KEPT]
        self.hashes, self.bound = set(kept), kept[-1]

    def count(self) -> float:
        """How many there were."""
        found = len(self.hashes)
        return float(found) if self.bound == _RANGE else found * _RANGE / max(self.bound, 1)
