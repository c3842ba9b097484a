"""How soon a server that ended by itself is started again: later each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from portcullis.core.errors import Problem

Whose: TypeAlias = tuple[str, ...]
"""A server, and the principal for whom it ran: what one breaks, others still have."""

FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 60.0
WELL_SECONDS: Final = 60.0
"""A server that ran for so long begins anew."""
_REMEMBERED: Final = 4096


class Backoff:
    """``may_start`` before a start, ``ended`` after an end that we did not want.

    The first such end is forgiven; after the second it waits ``FIRST_SECONDS``, then twice as
    long each time, up to ``MOST_SECONDS``. ``now`` is a clock that never goes back, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ends: dict[Whose, tuple[int, float]] = {}

    def may_start(self, whose: Whose) -> None:
        """Raise Problem PC5041 while it rests."""
        _, until = self._ends.get(whose, (0, 0.0))
        wait = until - self._now()
        if wait > 0:
            raise Problem(
                "PC5041", f"the server {whose[0]} ended by itself; it starts again in {wait:.1f} s"
            )

    def ended(self, whose: Whose, lived: float) -> None:
        """It ended by itself after so many seconds, or did not start at all."""
        now = self._now()
        count = 1 if lived >= WELL_SECONDS else self._ends.pop(whose, (0, 0.0))[0] + 1
        wait = 0.0 if count == 1 else min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(count - 2, 16))
        self._ends.pop(whose, None)
        self._ends[whose] = (count, now + wait)
        if len(self._ends) > _REMEMBERED:
            del self._ends[next(iter(self._ends))]
