"""Making pages of large calls, on a thread that nothing else of the gate waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from portcullis.core.errors import Problem

WAITING: Final = 2
"""How many pages may wait for the one that is made."""

_Made = TypeVar("_Made")


class Drawing:
    """One page after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "console")
        self._room = threading.BoundedSemaphore(1 + WAITING)

    async def make(self, work: Callable[[], _Made]) -> _Made:
        """What ``work`` returns. Raises Problem PC3056 when too many wait already."""
        if not self._room.acquire(blocking=False):
            raise Problem("PC3056", f"{WAITING} other pages of calls wait to be made")
        made = self._thread.submit(work)
        made.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(made)
