"""Work that is finished even when whoever asked for it is gone, or is cut off by it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class Finishing:
    """Holds on to what runs. Cancelling who waits for it does not cancel the work."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def __call__(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do ``work`` and wait for it; returns and raises what it does."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)
