"""What is looked at now and then while something runs: most runs end before the first look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Ticks:
    """``look`` is called every so many ``seconds``, for as long as it says so.

    It runs in a task of its own, which is only made when the time has come.
    """

    def __init__(self, seconds: float, look: Callable[[], Awaitable[bool]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._look = look
        self._looking: asyncio.Task[None] | None = None
        self._over = False
        self._timer = self._loop.call_later(seconds, self._begin)

    async def end(self) -> None:
        """Look no more; a look that has begun is waited for."""
        self._over = True
        self._timer.cancel()
        if self._looking is not None:
            await asyncio.wait({self._looking})

    def _begin(self) -> None:
        self._looking = self._loop.create_task(self._once())

    async def _once(self) -> None:
        if await self._look() and not self._over:
            self._timer = self._loop.call_later(self._seconds, self._begin)
