"""Streams that end when the login does that they were opened with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final, TypeAlias

from portcullis.core.ports import Clock, KillFeed
from portcullis.core.principal import Principal

QUIET_SECONDS: Final = 15.0
"""After this silence a comment is sent, so that a reader who has left is noticed."""
_COMMENT: Final = b": \n\n"

Piece: TypeAlias = str | bytes | memoryview


class Streams:
    """Ends every open stream at once whose reader is cut off. Use it from one event loop."""

    def __init__(self, feed: KillFeed, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self._open: dict[asyncio.Future[None], Principal] = {}
        self._closed = False
        feed.subscribe(self._sweep)

    def close(self) -> None:
        """End them all, and those that come: the gate stops."""
        self._closed = True
        for over in self._open:
            _end(over)

    async def guarded(
        self, principal: Principal, pieces: AsyncIterable[Piece]
    ) -> AsyncIterator[Piece]:
        """The pieces until they end, the principal is cut off, or its credential expires."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        self._open[over] = principal
        timer = loop.call_later(max(0.0, principal.expires_at - self._clock.now()), _end, over)
        source = aiter(pieces)
        following = asyncio.ensure_future(_next(source))
        try:
            self._sweep()
            while not over.done():
                both: tuple[asyncio.Future[Any], ...] = (following, over)
                await asyncio.wait(both, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if over.done():
                    return
                if not following.done():
                    yield _COMMENT
                    continue
                piece = following.result()
                if piece is None:
                    return
                yield piece
                following = asyncio.ensure_future(_next(source))
        finally:
            timer.cancel()
            self._open.pop(over)
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    def _sweep(self) -> None:
        for over, principal in self._open.items():
            if self._closed or self._feed.stale() or self._feed.reason(principal, None) is not None:
                _end(over)


async def _next(source: AsyncIterator[Piece]) -> Piece | None:
    """The next piece, or None at the end."""
    return await anext(source, None)


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
