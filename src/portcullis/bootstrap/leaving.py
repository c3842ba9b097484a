"""How what serves agents comes to its end, so that nobody loses a request by it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from portcullis.config import Limits

_MARGIN_SECONDS = 5.0
"""For what is to be closed beside what is waited for."""


@contextlib.asynccontextmanager
async def doors() -> AsyncIterator[Callable[[], contextlib.AsyncExitStack]]:
    """Makes stacks that end together when the block does: what one of them waits for, all do."""
    made: list[contextlib.AsyncExitStack] = []

    def another() -> contextlib.AsyncExitStack:
        made.append(contextlib.AsyncExitStack())
        return made[-1]

    try:
        yield another
    finally:
        ends = await asyncio.gather(*(one.aclose() for one in made), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end


def longest(limits: Limits) -> float:
    """Seconds after which a process that was told to end has ended, or hangs."""
    return limits.drain_notice_seconds + limits.drain_seconds + _MARGIN_SECONDS
