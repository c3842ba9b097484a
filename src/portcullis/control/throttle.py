"""Failures cost time: the longer the more, by name or by address."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from portcullis.core.ports import Clock

CAPACITY: Final = 4096
"""How many keys are remembered; the one that failed longest ago goes first."""


class Throttle:
    """Locks a key for 1, 2, 4, ... up to ``longest`` seconds once it failed ``free`` times."""

    def __init__(self, clock: Clock, *, free: int, longest: int) -> None:
        self._clock = clock
        self._free = free
        self._longest = longest
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """For how many seconds the key is locked; 0 when it is not.

        A lock that ends later than any could was made before the clock was set back, and is none.
        """
        left = self._failed.get(key, (0, 0.0))[1] - self._clock.now()
        return left if 0 < left <= self._longest else 0.0

    def failed(self, key: str, before: int = 0) -> tuple[int, float]:
        """Count a failure (after at least ``before``): how many it are, until when it is locked."""
        failures = max(self._failed.get(key, (0, 0.0))[0], before) + 1
        beyond = failures - self._free
        delay = 0 if beyond <= 0 else min(2 ** min(beyond - 1, 32), self._longest)
        self._failed[key] = failures, self._clock.now() + delay
        self._failed.move_to_end(key)
        if len(self._failed) > CAPACITY:
            self._failed.popitem(last=False)
        return self._failed[key]

    def clear(self, key: str) -> None:
        """Forget a key's failures."""
        self._failed.pop(key, None)
