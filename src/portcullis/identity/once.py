"""What may be used only once: DPoP proofs (RFC 9449 section 11.1) and JWT-SVIDs."""

from __future__ import annotations

import heapq
from typing import Final

from portcullis.core.ports import Clock

CAPACITY: Final = 262_144
"""Keys remembered at once, some 200 bytes each: 4 000 proofs a second for a minute."""
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
        self._ends: list[tuple[float, bytes]] = []
        self._since = float(int(clock.now()))

    @property
    def since(self) -> float:
        """When this memory began."""
        return self._since

    def spend(self, key: bytes, until: float) -> bool:
        """True the first time that ``key`` is seen before its ``until``."""
        now = self._clock.now()
        for _ in range(_FORGET):
            if not self._ends or self._ends[0][0] > now:
                break
            self._seen.discard(heapq.heappop(self._ends)[1])
        if until <= now or key in self._seen or len(self._seen) >= self._capacity:
            return False
        self._seen.add(key)
        heapq.heappush(self._ends, (until, key))
        return True
