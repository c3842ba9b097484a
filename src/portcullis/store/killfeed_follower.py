"""A gateway's end of the feed: it acts on what is pushed, says so, and knows when it is stale."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

import structlog

from portcullis.core import formats
from portcullis.core.fanout import Line
from portcullis.core.feed import (
    EVERYONE,
    Acknowledgement,
    Ask,
    Present,
    Said,
    Snapshot,
    Standing,
    Swept,
)
from portcullis.core.ports import Clock
from portcullis.store.killfeed_following import Following, Made, changed
from portcullis.store.killfeed_frames import ForgedError, Frames, Refusals
from portcullis.store.killfeed_kept import KeptSnapshot

log = structlog.get_logger(__name__)

_AGAIN: Final = 30.0
"""Seconds after which it asks for a snapshot anyway: two clocks drift apart."""
_UNHURRIED: Final = 0.002
"""Seconds after which a gateway that had no call to end says so: others have, and need the
processors that they share."""
_SILENT: Final = 1.0
"""Seconds, or four heartbeats, without a good frame after which nobody publishes."""
_LEAVING: Final = 0.05
"""Seconds in which its last word gets away."""


class Followed(Protocol):
    """What a follower tells: ``store.killfeed.LocalKillFeed``."""

    def push(self, standings: Iterable[Standing], *, whole: bool = False) -> None:
        """Act on it."""

    def pushed(self) -> tuple[Standing, ...]:
        """All that was pushed and stands."""
        ...

    def lease(self, fresh: Callable[[], bool] | None) -> None:
        """Be stale whenever ``fresh`` is not."""

    def lapsed(self) -> None:
        """What ``fresh`` says has changed."""


class Follower:
    """One gateway's. Use it from one event loop; ``run`` it.

    With ``binding``, the feed is stale from the beginning and whenever the lease is over;
    otherwise what is pushed acts, and the database is followed as before. ``swept`` says what the
    gateway has ended so far. With ``kept`` it goes on from the snapshot on disk, where that is
    good, and keeps one. ``ordered`` (it blocks) says why everybody is killed by an order that lies
    here, if so: it is asked while the publisher is silent, and acts until that speaks again.
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
        kept: KeptSnapshot | None = None,
        ordered: Callable[[], str | None] = lambda: None,
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
        self.strange: int | None = None  # the format of what is said, where it is not read here
        self._asked_at = -math.inf
        self._was_fresh = False
        self._timer: asyncio.TimerHandle | None = None
        self._kept = kept
        self._ordered = ordered
        self._obeyed: str | None = None
        self._heard_at = clock.monotonic()
        self._forgetting: set[asyncio.Task[None]] = set()
        if binding:
            feed.lease(self.fresh)
        if kept is not None:
            self._resume(kept)

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
                self._look()
                self._keep()
                await self._obey()
                await asyncio.wait((joined,), timeout=self._heartbeat)
            joined.result()
        finally:
            self._present(leaving=True)
            await asyncio.sleep(_LEAVING)
            if self._kept is not None:
                await asyncio.gather(*self._forgetting, return_exceptions=True)
                await asyncio.to_thread(self._kept.close)
            joined.cancel()
            await asyncio.gather(joined, return_exceptions=True)
            if self._timer is not None:
                self._timer.cancel()

    def _resume(self, kept: KeptSnapshot) -> None:
        """Go on where the process before it was, if that is known and not too long ago."""
        found = kept.load()
        if found is None:
            return
        self._following.resume(found.epoch, found.sequence, found.at, found.heard)
        self._feed.push(found.standings)  # beside what else is known by now
        seconds = round(self._following.fresh_until - self._clock.monotonic(), 1)
        log.warning("feed_resumed", sequence=found.sequence, fresh_for=seconds)

    def _keep(self) -> None:
        known = self._following
        heard = known.heard
        if self._kept is not None and heard is not None and not self._forgetting:
            self._kept.keep(heard, known.epoch, known.sequence, known.at, self._feed.pushed)

    async def _obey(self) -> None:
        """While nobody is there to publish it, an order to kill everybody comes by its file."""
        if not self._silent():
            self._obeyed = None
            return
        reason = await asyncio.to_thread(self._ordered)
        if reason is not None and reason != self._obeyed and self._silent():
            self._obeyed = reason
            self._feed.push((Standing("all", EVERYONE, reason),))

    def _silent(self) -> bool:
        return self._clock.monotonic() - self._heard_at > max(_SILENT, 4 * self._heartbeat)

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
        if not formats.readable(said.format, formats.FORMAT):
            if self.strange != said.format:
                log.error("feed_format_unknown", code=formats.STRANGE, format=said.format)
            self.strange = said.format
            return
        self.strange = None
        made = self._following.hear(said)
        if made is Made.REFUSED:
            if not isinstance(said, Snapshot):
                self._refusals.add(reason="old", sequence=said.sequence)
        elif made in {Made.MISSED, Made.UNKNOWN}:
            if made is Made.MISSED:
                log.warning("feed_update_missed", sequence=said.sequence)
                self._forget()
                self._look()
            if began - self._asked_at > self._heartbeat or made is Made.MISSED:
                self._ask()
        else:
            self._heard_at = began
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
        if made is Made.WHOLE:
            self._present()
        hurried = bool(runs) or made is Made.WHOLE  # those who were cut off are told first
        self._forget(partial(self._say_soon, acted, 0.0 if hurried else _UNHURRIED))

    def _say_soon(self, frame: Acknowledgement, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._say, frame)

    def _forget(self, then: Callable[[], None] = lambda: None) -> None:
        """What is on disk lacks something from now on: take it away, then do the rest."""
        if self._kept is None:
            then()
            return
        task = asyncio.ensure_future(self._forgotten(self._kept, then))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forgotten(self, kept: KeptSnapshot, then: Callable[[], None]) -> None:
        try:
            await kept.forget()
        except OSError as error:  # it is counted as one that did not act, and bound by its lease
            log.warning("feed_snapshot_not_forgotten", fault=error.strerror)
            return
        then()

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
