"""What may be used only once: DPoP proofs (RFC 9449 section 11.1) and JWT-SVIDs."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Final

from portcullis.core.ports import Clock, Once

CAPACITY: Final = 262_144
"""Keys remembered at once, some 200 bytes each: 4 000 proofs a second for a minute."""
SHARE: Final = 16
"""No holder has more than one in this many of them."""
_FORGET: Final = 8
"""Most expired keys that one call forgets, so that no call waits for many."""


class LocalOnce:
    """Implements ``core.ports.Once`` in the memory of one process.

    What has expired is forgotten; what has not is never pushed out, so a flood of proofs closes
    the door instead of opening it. After a restart nothing is remembered: whoever asks
    therefore also refuses what was made before ``since``, the whole second in which this memory
    began (the times in proofs and tokens are whole seconds too).
    """

    def __init__(self, clock: Clock, *, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._seen: set[bytes] = set()
        self._ends: list[tuple[float, bytes, str]] = []
        self._held: Counter[str] = Counter()
        self._since = float(int(clock.now()))

    @property
    def since(self) -> float:
        """When this memory began."""
        return self._since

    def spend(self, key: bytes, until: float, holder: str = "") -> bool:
        """True the first time that ``key`` is seen before its ``until``."""
        now = self._clock.now()
        for _ in range(_FORGET):
            if not self._ends or self._ends[0][0] > now:
                break
            self._forget()
        full = len(self._seen) >= self._capacity
        if holder:
            full = full or self._held[holder] >= self._capacity // SHARE
        if until <= now or key in self._seen or full:
            return False
        self._seen.add(key)
        heapq.heappush(self._ends, (until, key, holder))
        if holder:
            self._held[holder] += 1
        return True

    async def spent(self, key: bytes, until: float, holder: str = "") -> bool:
        """The same."""
        return self.spend(key, until, holder)

    def _forget(self) -> None:
        _, key, holder = heapq.heappop(self._ends)
        self._seen.discard(key)
        if holder:
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]


class Later:
    """An ``Once`` that takes note of what is to be spent, which ``all`` then does."""

    def __init__(self, once: Once) -> None:
        self._once = once
        self._noted: list[tuple[bytes, float, str]] = []

    @property
    def since(self) -> float:
        """See Once."""
        return self._once.since

    def spend(self, key: bytes, until: float, holder: str = "") -> bool:
        """Take note of it."""
        self._noted.append((key, until, holder))
        return True

    async def spent(self, key: bytes, until: float, holder: str = "") -> bool:
        """See Once."""
        return await self._once.spent(key, until, holder)

    async def all(self) -> bool:
        """Whether all that was noted is spent now, for the first time."""
        for one in self._noted:
            if not await self._once.spent(*one):
                return False
        return True
