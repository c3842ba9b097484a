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
_TRIES, _BETWEEN_SECONDS = 20, 0.05
"""How often room is looked for before a page is refused: for 1 s."""

_Made = TypeVar("_Made")


class Drawing:
    """One page after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "console")
        self._room = threading.BoundedSemaphore(1 + WAITING)

    async def make(self, work: Callable[[], _Made]) -> _Made:
        """What ``work`` returns. Raises Problem PC3056 when too many wait for 1 s."""
        for _ in range(_TRIES):
            if self._room.acquire(blocking=False):
                break
            await asyncio.sleep(_BETWEEN_SECONDS)
        else:
            raise Problem("PC3056", f"{WAITING} other pages of calls wait to be made")
        try:
            made = self._thread.submit(work)
        except BaseException:
            self._room.release()
            raise
        made.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(made)
