"""What wakes the streams: one event for all, replaced each time that it has rung."""

from __future__ import annotations

import asyncio
import contextlib


class Changes:
    """Made on the loop that its listeners run on; ``ring`` may come from any thread, also later."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Is set at the next change. Take it before looking at anything that may change."""
        return self._event

    def ring(self) -> None:
        """Something changed."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        rung, self._event = self._event, asyncio.Event()
        rung.set()
