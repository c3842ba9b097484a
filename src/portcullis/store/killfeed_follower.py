"""A gateway's end of the feed: it acts on what is pushed, says so, and knows when it is stale."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from portcullis.core.fanout import Line
from portcullis.core.feed import Acknowledgement, Ask, Present, Said, Snapshot, Standing, Swept
from portcullis.core.ports import Clock
from portcullis.store.killfeed_following import Following, Made, changed
from portcullis.store.killfeed_frames import ForgedError, Frames, Refusals

log = structlog.get_logger(__name__)

_AGAIN: Final = 30.0
"""Seconds after which it asks for a snapshot anyway: two clocks drift apart."""
_UNHURRIED: Final = 0.002
"""Seconds after which a gateway that had no call to end says so: others have, and need the
processors that they share."""
_LEAVING: Final = 0.05
"""Seconds in which its last word gets away."""


class Followed(Protocol):
    """What a follower tells: ``store.killfeed.LocalKillFeed``."""

    def push(self, standings: Iterable[Standing], *, whole: bool = False) -> None:
        """Act on it."""

    def lease(self, fresh: Callable[[], bool] | None) -> None:
        """Be stale whenever ``fresh`` is not."""

    def lapsed(self) -> None:
        """What ``fresh`` says has changed."""


class Follower:
    """One gateway's. Use it from one event loop; ``run`` it.

    With ``binding``, the feed is stale from the beginning and whenever the lease is over;
    otherwise what is pushed acts, and the database is followed as before. ``swept`` says what the
    gateway has ended so far.
    """

    def __init__(
        self,
        name: str,
        feed: Followed,
        line: Line,
        frames: Frames,
        clock: Clock,
        *,
        lease_seconds: float,
        heartbeat_seconds: float,
        swept: Callable[[], Swept] = Swept,
        binding: bool = True,
    ) -> None:
        self._name = name
        self._feed = feed
        self._line = line
        self._frames = frames
        self._clock = clock
        self._heartbeat = heartbeat_seconds
        self._swept = swept
        self._binding = binding
        self._following = Following(name, lease_seconds)
        self._refusals = Refusals("feed_frame_refused", clock)
        self._asked_at = -math.inf
        self._was_fresh = False
        self._timer: asyncio.TimerHandle | None = None
        if binding:
            feed.lease(self.fresh)

    def fresh(self) -> bool:
        """Whether it knows all that was published up to a lease ago."""
        return self._clock.monotonic() < self._following.fresh_until

    async def run(self) -> None:
        """Follow until cancelled; then it leaves, and says so."""
        joined = asyncio.ensure_future(self._line.run(self._hear, self._ask))
        try:
            while not joined.done():
                since = self._clock.monotonic() - self._asked_at
                knows = self.fresh() and not self._following.doubtful
                if since > (_AGAIN if knows else self._heartbeat):
                    self._ask()
                self._present()
                await asyncio.wait((joined,), timeout=self._heartbeat)
            joined.result()
        finally:
            self._present(leaving=True)
            await asyncio.sleep(_LEAVING)
            joined.cancel()
            await asyncio.gather(joined, return_exceptions=True)
            if self._timer is not None:
                self._timer.cancel()

    def _ask(self) -> None:
        nonce = secrets.token_bytes(16)
        self._asked_at = self._clock.monotonic()
        self._following.ask(nonce, self._asked_at)
        self._say(Ask(self._name, nonce))

    def _present(self, *, leaving: bool = False) -> None:
        known = self._following
        self._say(Present(self._name, known.epoch, known.sequence, known.at, leaving))

    def _say(self, frame: Ask | Present | Acknowledgement) -> None:
        self._line.send(self._frames.answer(frame))

    def _hear(self, frame: bytes) -> None:
        began, before = self._clock.monotonic(), self._swept()
        try:
            said = self._frames.said(frame)
        except ForgedError:
            self._refusals.add(reason="forged")
            return
        made = self._following.hear(said)
        if made is Made.REFUSED:
            if not isinstance(said, Snapshot):
                self._refusals.add(reason="old", sequence=said.sequence)
        elif made in {Made.MISSED, Made.UNKNOWN}:
            if made is Made.MISSED:
                log.warning("feed_update_missed", sequence=said.sequence)
                self._look()
            if began - self._asked_at > self._heartbeat or made is Made.MISSED:
                self._ask()
        else:
            self._act(said, made, began, before)

    def _act(self, said: Said, made: Made, began: float, before: Swept) -> None:
        if made is not Made.FRESH:
            self._feed.push(changed(said), whole=made is Made.WHOLE)
        self._look()
        if made is Made.FRESH:
            return
        swept = self._swept()
        runs, connections = swept.runs - before.runs, swept.connections - before.connections
        own = round((self._clock.monotonic() - began) * 1000, 3)
        acted = Acknowledgement(self._name, said.epoch, said.sequence, runs, connections, own)
        loop = asyncio.get_running_loop()
        if made is Made.WHOLE:
            self._present()
        if runs or made is Made.WHOLE:
            loop.call_soon(self._say, acted)  # those who were cut off are told first
        else:
            loop.call_later(_UNHURRIED, self._say, acted)

    def _look(self) -> None:
        """Tell the feed when it becomes stale or fresh, and look again when the lease is over."""
        fresh = self.fresh()
        if fresh != self._was_fresh:
            self._was_fresh = fresh
            log.info("feed_fresh" if fresh else "feed_stale", sequence=self._following.sequence)
            if self._binding:
                self._feed.lapsed()
        if fresh and self._timer is None:
            left = self._following.fresh_until - self._clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left), self._over)

    def _over(self) -> None:
        self._timer = None
        self._look()
