"""The timer of one connection to an upstream, for one exchange after the other.

``asyncio.timeout`` costs 4 to 9 us each time it is entered, a tenth of a whole call and more, and
a stream would enter it once per chunk; this costs 0.2. The timer stays armed from exchange to
exchange: when it fires too early for the one at hand, it is armed again for the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watch:
    """Calls ``expire`` once per exchange, when its deadline or its longest silence has passed.

    Times are seconds. Silence counts only between ``wait`` and ``heard``, so that a slow reader
    of ours is not held against the upstream.
    """

    __slots__ = ("_deadline", "_due", "_expire", "_handle", "_idle", "_loop", "_started",
                 "_waiting")  # fmt: skip

    def __init__(self, expire: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self._started = 0.0
        self._deadline: float | None = None
        self._idle: float | None = None
        self._waiting: float | None = None
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        """Begin an exchange that may take ``seconds``."""
        self._started = self._loop.time()
        self._deadline = self._started + seconds
        self._idle = self._waiting = None
        self._arm(self._deadline)

    def stream(self, seconds: float, idle: float) -> None:
        """Allow ``seconds`` since the start instead, and no silence longer than ``idle``."""
        self._deadline = self._started + seconds
        self._idle = idle
        self._arm(min(self._deadline, self._loop.time() + idle))

    def wait(self) -> None:
        """Mark that we begin to wait for the upstream."""
        self._waiting = self._loop.time()

    def heard(self) -> None:
        """Mark that it has answered."""
        self._waiting = None

    def stop(self) -> None:
        """End the exchange: nothing expires until the next start."""
        self._deadline = None

    def close(self) -> None:
        """Stop for good."""
        self._deadline = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, when: float) -> None:
        """See to it that the timer fires at ``when`` or before."""
        if self._handle is not None:
            if self._due <= when:
                return
            self._handle.cancel()
        self._due = when
        self._handle = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._deadline is None:
            return
        now = self._loop.time()
        when = self._deadline
        if self._idle is not None:
            when = min(when, (now if self._waiting is None else self._waiting) + self._idle)
        if when <= now:
            self._deadline = None
            self._expire()
        else:
            self._arm(when)
