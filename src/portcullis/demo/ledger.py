"""The audit log as the story reads it: what is on disk, and what has come since it last looked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from portcullis.core.event import Event

Recorded = Callable[[Event], bool]

_PATIENCE: Final = 3.0
_PAUSE: Final = 0.02


class Ledger:
    """Reads a log from disk with ``read``, which yields its events in order."""

    def __init__(self, read: Callable[[], Iterable[Event]]) -> None:
        self._read = read
        self._told: set[str] = set()

    def events(self) -> list[Event]:
        """All events that are on disk now."""
        return list(self._read())

    async def fresh(self, wanted: Recorded | None) -> list[Event]:
        """What has been recorded since the last time, waiting a little for a ``wanted`` event.

        Records of reads and results ride a queue, so they may come a moment after the answer.
        """
        for _ in range(round(_PATIENCE / _PAUSE)):
            found = [event for event in self.events() if event.id not in self._told]
            if wanted is None or any(map(wanted, found)):
                break
            await asyncio.sleep(_PAUSE)
        self._told.update(event.id for event in found)
        return found
