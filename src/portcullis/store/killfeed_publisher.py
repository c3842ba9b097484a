"""The control plane's end of the feed: it counts updates, and hears which gateways acted."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from portcullis.core import formats
from portcullis.core.fanout import Hub
from portcullis.core.feed import (
    Acknowledgement,
    Ask,
    Heartbeat,
    Present,
    Snapshot,
    Standing,
    Swept,
    Told,
    Update,
    epoch_of,
    term_of,
)
from portcullis.core.ports import Clock
from portcullis.store.killfeed_frames import ForgedError, Frames, Refusals

_FORGOTTEN: Final = 3600.0
"""Seconds after which a gateway that went silent is no longer asked after."""
_REMEMBERED: Final = 256
"""Updates of which it is known when they were published."""


@dataclass(slots=True)
class _Member:
    """A gateway that follows. ``at`` is the time of the last frame that it is known to have.

    One that asked and is not ``confirmed`` may be about to follow, or be shown again by somebody.
    """

    heard: float
    at: float = 0.0
    confirmed: bool = False
    acknowledged: int = 0
    told: Told | None = None


@dataclass(slots=True)
class _Waiting:
    """Who acted on an update, for those who wait to know."""

    sequence: int
    expected: set[str]
    told: dict[str, Told] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, told: Told) -> None:
        self.told.setdefault(told.gateway, told)
        self._look()

    def without(self, gateway: str) -> None:
        """It left in good order."""
        self.expected.discard(gateway)
        self._look()

    def _look(self) -> None:
        if self.told.keys() >= self.expected:
            self.done.set()


@dataclass(frozen=True, slots=True)
class Own:
    """The gateway in the publisher's own process: it has acted before ``publish`` is over."""

    name: str
    swept: Callable[[], Swept]


class Publisher:
    """Implements ``core.feed.Relay`` over a hub. Use it from one event loop; ``run`` it.

    ``standings`` is all that stands, for snapshots. ``own`` is the gateway that this process is
    itself, if any. ``term`` is that of its rule; once a gateway follows a publisher of a later one
    nobody obeys this one any more, and ``outranked`` is called.
    """

    def __init__(
        self,
        standings: Callable[[], tuple[Standing, ...]],
        hub: Hub,
        frames: Frames,
        clock: Clock,
        *,
        lease_seconds: float,
        heartbeat_seconds: float,
        own: Own | None = None,
        term: int = 0,
        outranked: Callable[[], None] = lambda: None,
    ) -> None:
        self._standings = standings
        self._hub = hub
        self._frames = frames
        self._clock = clock
        self._lease = lease_seconds
        self._heartbeat = heartbeat_seconds
        self._own = own
        self._outranked = outranked
        self._epoch = epoch_of(term, secrets.token_hex(8))
        self._sequence = 0
        self._at = 0.0
        self._members: dict[str, _Member] = {}
        self._asking: dict[str, bytes] = {}
        self._refusals = Refusals("feed_answer_refused", clock)
        self._published: dict[int, tuple[float, Swept]] = {}
        self._waiting: list[_Waiting] = []

    @property
    def gateways(self) -> dict[str, float]:
        """The gateways that follow, and how many seconds ago each was heard."""
        now = self._clock.monotonic()
        return {
            name: now - member.heard
            for name, member in sorted(self._members.items())
            if member.confirmed
        }

    def publish(self, standings: Sequence[Standing]) -> None:
        """Take these to every follower."""
        self._sequence += 1
        now = self._now()
        swept = Swept() if self._own is None else self._own.swept()
        self._published[self._sequence] = (now, swept)
        self._published.pop(self._sequence - _REMEMBERED, None)
        update = Update(self._epoch, self._sequence, now, tuple(standings), formats.FORMAT)
        self._hub.send(self._frames.say(update))

    async def acknowledged(self, seconds: float) -> tuple[Told, ...]:
        """What each gateway made of all that was published, after ``seconds`` at most."""
        self._forget()
        sequence = self._sequence
        at, swept = self._published.get(sequence, (self._clock.monotonic(), Swept()))
        own = () if self._own is None else (self._said_by_own(self._own, at, swept),)
        waiting = _Waiting(
            sequence,
            {name for name, one in self._members.items() if one.acknowledged < sequence},
        )
        if waiting.expected:
            self._waiting.append(waiting)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await waiting.done.wait()
            finally:
                self._waiting.remove(waiting)
        told = dict(waiting.told)
        for name, member in self._members.items():
            if member.told is not None and name not in waiting.expected:
                told[name] = member.told  # it had acted before anybody waited
        silent = [self._silent(name, at) for name in waiting.expected - told.keys()]
        return tuple(sorted((*own, *told.values(), *silent), key=lambda one: one.gateway))

    async def run(self) -> None:
        """Serve followers and say that it lives, until cancelled. Raises Problem PC4005."""
        serving = asyncio.ensure_future(self._hub.run(self._hear))
        try:
            while not serving.done():
                heartbeat = Heartbeat(self._epoch, self._sequence, self._now(), formats.FORMAT)
                self._hub.send(self._frames.say(heartbeat))
                await asyncio.wait((serving,), timeout=self._heartbeat)
            serving.result()
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    def _hear(self, frame: bytes) -> None:
        now = self._clock.monotonic()
        try:
            said = self._frames.answered(frame)
        except ForgedError:
            self._refusals.add()
            return
        if isinstance(said, Ask):
            self._asked_by(said)
        elif said.epoch != self._epoch:  # else it will ask
            if term_of(said.epoch) > term_of(self._epoch):
                self._outranked()
        elif isinstance(said, Present):
            self._seen(said, now)
        else:
            self._acknowledge(said, now)

    def _asked_by(self, asked: Ask) -> None:
        """Answer soon: of many questions that waited, the last of each gateway."""
        if not self._asking:
            asyncio.get_running_loop().call_soon(self._answer)
        self._asking[asked.gateway] = asked.nonce
        member = self._members.setdefault(asked.gateway, _Member(0.0))
        if not member.confirmed:
            member.heard = self._clock.monotonic()

    def _answer(self) -> None:
        asking, self._asking = self._asking, {}
        standings = self._standings()
        for gateway, nonce in asking.items():
            said = Snapshot(
                *(self._epoch, self._sequence, self._now(), gateway, nonce, standings),
                format=formats.FORMAT,
            )
            self._hub.send(self._frames.say(said), gateway)

    def _seen(self, said: Present, now: float) -> None:
        """A follower lives, or has left; one that is shown again later says neither."""
        member = self._members.get(said.gateway)
        if said.leaving:
            if member is not None and said.at >= member.at:
                del self._members[said.gateway]
                for waiting in self._waiting:
                    waiting.without(said.gateway)
        elif now - said.at <= self._lease:
            member = self._members.setdefault(said.gateway, _Member(now))
            member.heard, member.at = now, max(member.at, said.at)
            member.confirmed = True

    def _acknowledge(self, said: Acknowledgement, now: float) -> None:
        member = self._members.get(said.gateway)
        if member is None:
            return  # it has left
        if said.sequence >= member.acknowledged:
            member.acknowledged = said.sequence
            member.told = self._acted(said, said.sequence, now)
        for waiting in self._waiting:
            if said.sequence >= waiting.sequence and said.gateway in waiting.expected:
                waiting.add(self._acted(said, waiting.sequence, now))

    def _acted(self, said: Acknowledgement, sequence: int, now: float) -> Told:
        at, _ = self._published.get(sequence, (now, Swept()))
        return Told(
            gateway=said.gateway,
            acknowledged=round((now - at) * 1000, 3),
            runs=said.runs,
            connections=said.connections,
            own=said.milliseconds,
        )

    def _said_by_own(self, own: Own, at: float, before: Swept) -> Told:
        now, swept = self._clock.monotonic(), own.swept()
        took = round((now - at) * 1000, 3)
        return Told(
            gateway=own.name,
            acknowledged=took,
            runs=swept.runs - before.runs,
            connections=swept.connections - before.connections,
            own=took,
        )

    def _silent(self, name: str, since: float) -> Told:
        """One that did not act: whatever it heard of ours was made before ``since``."""
        left = since + self._lease - self._clock.monotonic()
        return Told(gateway=name, acknowledged=None, within=max(0.0, round(left, 3)))

    def _forget(self) -> None:
        now = self._clock.monotonic()
        for name, one in tuple(self._members.items()):
            if now - one.heard > (_FORGOTTEN if one.confirmed else self._lease):
                del self._members[name]

    def _now(self) -> float:
        """The time of a frame: later than that of the one before."""
        self._at = max(self._clock.monotonic(), self._at + 1e-6)
        return self._at
