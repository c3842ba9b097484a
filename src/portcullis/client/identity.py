"""An identity that renews itself: the SVID of now, and word of each new one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from typing import Final, Self

from portcullis.client.svid import Svid
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

_PATIENCE: Final = (0.2, 30.0)
"""Seconds before a failed renewal is tried again: at first, and at most."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class Identity(ABC):
    """Holds an SVID in memory and renews it for as long as the context lasts.

    Entering it waits for the first SVID and raises what stands in the way. ``current`` is a
    snapshot that stays valid until it expires, also while its successor is in use. A renewal
    that fails is tried again until the SVID expires; ``failure`` says why the last one failed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._svid: Svid | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failure: Problem | None = None

    @property
    def current(self) -> Svid:
        """The newest SVID. Raises Problem: the failure to renew, or PC2022, once it expired."""
        found = self._svid
        if found is None or found.expires_at <= self._clock.now():
            raise self.failure or Problem("PC2022", "the SVID has expired")
        return found

    async def newer(self, than: Svid | None) -> Svid:
        """The newest SVID as soon as it is another than this one."""
        while self._svid is None or self._svid is than:
            await self._changed.wait()
        return self._svid

    async def __aenter__(self) -> Self:
        try:
            self._publish(await self.begin())
        except BaseException:
            await self.close()
            raise
        self._task = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.close()

    @abstractmethod
    async def begin(self) -> Svid:
        """The first SVID; raises the Problem that stands in the way."""

    @abstractmethod
    async def follow(self, held: Svid) -> Svid:
        """The SVID after ``held``, when it is time for it; raises a Problem to be called again."""

    async def close(self) -> None:  # noqa: B027 - not every source has something to let go of
        """Let go of what ``begin`` opened."""

    def _publish(self, found: Svid) -> None:
        self._svid, self.failure = found, None
        self._changed.set()
        self._changed = asyncio.Event()

    async def _renew(self) -> None:
        wait, longest = _PATIENCE
        while True:
            try:
                self._publish(await self.follow(await self.newer(None)))
                wait = _PATIENCE[0]
            except Problem as problem:
                self.failure = problem
                await asyncio.sleep(wait)
                wait = min(2 * wait, longest)
