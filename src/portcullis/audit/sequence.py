"""The numbers of a session's events: from one on, without a gap, as long as the log is open."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SESSIONS: Final = 65_536
"""Most sessions whose events are counted at a time."""
REST_SECONDS: Final = 90_000.0
"""A session that rested for so long has ended."""


class Sequences:
    """Counts for one thread at a time; ``taken`` is for what ``following`` gave."""

    def __init__(self, most: int = SESSIONS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._last: dict[str, tuple[int, float]] = {}

    def following(self, session: str) -> int:
        """The number of a session's next event; 0, which counts nothing, without one to count."""
        known = self._last.get(session)
        if known is not None:
            return known[0] + 1
        if len(self._last) >= self._most:
            longest = next(iter(self._last))
            if self._clock() - self._last[longest][1] < REST_SECONDS:
                return 0
            del self._last[longest]
        return 1 if session else 0

    def taken(self, session: str, number: int) -> None:
        """An event has this number, unless it is 0."""
        if number:
            self._last.pop(session, None)  # in the order of their last events
            self._last[session] = number, self._clock()
