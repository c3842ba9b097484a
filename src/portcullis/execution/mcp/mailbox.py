"""What a server said outside any request, kept for whoever listens, within bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming


class Mailbox:
    """A ring of the last messages, numbered, so that a listener can resume.

    It holds at most ``count`` messages and ``size`` bytes. ``put`` returns the messages that had
    to go before anybody saw them. One listener listens at a time: a new one ends the one before.
    """

    def __init__(self, *, count: int, size: int) -> None:
        self._count = count
        self._room = size
        self._ring: deque[tuple[int, dict[str, Any], int]] = deque()
        self._next = 1
        self._delivered = 0
        self._news = asyncio.Event()
        self._listener = 0
        self._problem: Problem | None = None
        self.listening = False

    def put(self, message: dict[str, Any], size: int) -> list[dict[str, Any]]:
        """Keep a message of ``size`` bytes; return the unseen messages that made room for it."""
        self._ring.append((self._next, message, size))
        self._next += 1
        self._room -= size
        unseen: list[dict[str, Any]] = []
        while len(self._ring) > self._count or self._room < 0:
            number, oldest, freed = self._ring.popleft()
            self._room += freed
            if number > self._delivered:
                unseen.append(oldest)
        self._news.set()
        return unseen

    def fail(self, problem: Problem) -> None:
        """Let the listener read what is there, then raise ``problem``."""
        self._problem = problem
        self._news.set()

    async def listen(self, last_event_id: str | None) -> AsyncGenerator[Incoming, None]:
        """Yield messages as they come: after ``last_event_id``, or from the first unseen one.

        An id that is not one of ours counts as none. Ends when another listener takes over.
        """
        self._listener += 1
        me = self._listener
        self.listening = True
        self._news.set()
        position = self._delivered
        if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
            position = min(int(last_event_id[:18]), self._next - 1)
        try:
            while self._listener == me:
                found = next((entry for entry in self._ring if entry[0] > position), None)
                if found is not None:
                    position = found[0]
                    self._delivered = max(self._delivered, position)
                    yield Incoming(message=found[1], event_id=str(position))
                elif self._problem is not None:
                    raise self._problem
                else:
                    self._news.clear()
                    await self._news.wait()
        finally:
            if self._listener == me:
                self.listening = False
