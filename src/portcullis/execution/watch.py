"""One timer for one exchange with an upstream.

``asyncio.timeout`` costs about 9 us each time it is entered, as much as a seventh of a whole
call; a stream would enter it once per chunk. This is one ``call_later``, re-armed lazily.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def _nothing() -> None:
    """Stands in for an expiry that can no longer happen."""


class Watch:
    """Calls ``expire`` once, when a deadline or the longest silence has passed.

    Times are seconds. Silence counts only between ``wait`` and ``heard``, so that a slow reader
    of ours is not held against the upstream. ``expired`` says whether it came to that.
    """

    __slots__ = ("_deadline", "_expire", "_handle", "_idle", "_loop", "_waiting", "expired",
                 "started")  # fmt: skip

    def __init__(self, seconds: float, expire: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self._idle: float | None = None
        self._waiting: float | None = None
        self.expired = False
        self.started = self._loop.time()
        self._deadline = self.started + seconds
        self._handle: asyncio.TimerHandle | None = self._loop.call_later(seconds, self._fire)

    def stream(self, seconds: float, idle: float, expire: Callable[[], object]) -> None:
        """From now on allow ``seconds`` since the start, and no silence longer than ``idle``."""
        self.cancel()
        self._expire = expire
        self._deadline = self.started + seconds
        self._idle = idle
        self._arm()

    def redirect(self, expire: Callable[[], object]) -> None:
        """Keep the deadline, but call ``expire`` when it passes."""
        self._expire = expire

    def wait(self) -> None:
        """Mark that we begin to wait for the upstream."""
        self._waiting = self._loop.time()

    def heard(self) -> None:
        """Mark that it has answered."""
        self._waiting = None

    def cancel(self) -> None:
        """Stop the timer and let go of what it would have called."""
        self._expire = _nothing
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        when = self._deadline
        if self._idle is not None:
            since = self._loop.time() if self._waiting is None else self._waiting
            when = min(when, since + self._idle)
        self._handle = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self._loop.time()
        silent = (
            self._idle is not None
            and self._waiting is not None
            and now - self._waiting >= self._idle
        )
        if silent or now >= self._deadline:
            self.expired = True
            self._expire()
        else:
            self._arm()
