"""Names in the box: what is asked there as over TCP (RFC 1035, 4.2.2) is asked of the gate.

The gate's egress listener answers for names that policy lets the agent reach, and of every other
says that there is none (``gateway.egress_dns``). Nothing is resolved on this side, and nothing
leaves but to the gate. Messages are carried and not read: what is in them is the gate's to judge.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from portcullis.execution.launch.entrance import CONNECT_SECONDS, LOST, Entrance, Way

log = structlog.get_logger(__name__)

MOST: Final = 32
"""Most who ask at once; another is not answered."""
_LONGEST: Final = 4096
"""Bytes of a question; the gate takes no longer one."""
_KEPT: Final = 2
"""So many connections stay open for the next question."""
_IDLE_SECONDS: Final = 15
_ANSWER_SECONDS: Final = 15


class Names:
    """Carries questions by ``entrance``; ``doubt`` is told when the gate does not answer."""

    def __init__(self, entrance: Entrance, doubt: Callable[[], None]) -> None:
        self._entrance = entrance
        self._doubt = doubt
        self._ways: deque[Way] = deque()
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer on one connection of the box's, one question after the other."""
        task = asyncio.current_task()
        try:
            if task is None or len(self._serving) >= MOST:
                return
            self._serving.add(task)
            told = True
            while told and (question := await _question(reader)):
                told = await _told(writer, await self._answer(question))
        except LOST as error:
            log.info("name_not_asked", error=getattr(error, "code", type(error).__name__))
            self._doubt()
        finally:
            if task is not None:
                self._serving.discard(task)
            writer.transport.abort()

    async def close(self) -> None:
        """Leave all who ask without an answer, and close what is open."""
        serving = tuple(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        while self._ways:
            self._ways.popleft().drop()

    async def _answer(self, question: bytes) -> bytes:
        async with asyncio.timeout(CONNECT_SECONDS):
            way = await self._way()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self._entrance.answered(way, question)
        except BaseException:
            way.drop()
            raise
        if len(self._ways) < _KEPT:
            self._ways.append(way)
        else:
            way.drop()
        return answer

    async def _way(self) -> Way:
        """A connection that stands, under the newest SVID and token."""
        link, token = await self._entrance.now()
        while self._ways:
            way = self._ways.popleft()
            if way.context is link.context and way.token == token and way.stands():
                return way
            way.drop()
        return await self._entrance.opened(link, token)


async def _question(reader: StreamReader) -> bytes:
    """The next one; empty for none that is taken, or when nobody asks any more."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_IDLE_SECONDS):
            size = int.from_bytes(await reader.readexactly(2), "big")
            return await reader.readexactly(size) if size <= _LONGEST else b""
    return b""


async def _told(writer: StreamWriter, answer: bytes) -> bool:
    """Send an answer; whether who asked takes it, and may ask again."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_IDLE_SECONDS):
            writer.write(len(answer).to_bytes(2, "big") + answer)
            await writer.drain()
            return True
    return False
