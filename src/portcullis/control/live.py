"""What happens now: events that are on record, to those who watch.

A tap on the log hands over what is durable, on the log's thread, and only while somebody watches.
What other processes do to approvals is looked for in their table, once a second, only then too.
Who reads as it comes misses nothing: it is told a piece at a time. A reader who is too slow misses
something and is told so; the gate never waits for one, and other readers not twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from portcullis.control.happened import happened, happened_to
from portcullis.core.approval import Approval
from portcullis.core.desk import LiveEvent, LiveFilter
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

READERS: Final = 64
"""How many may watch at once."""
READERS_EACH: Final = 8
"""How often one operator may."""
QUEUED: Final = 256
"""How many events may wait for one reader; of more, it gets one ``resync`` instead."""
LOOK_SECONDS: Final = 1.0
_OVERLAP: Final = 2.0
"""Seconds that are looked at twice: a row is written a moment after its time."""
_MOST: Final = 1024
_REMEMBERED: Final = 4096
_BACKLOG: Final = 16_384
"""Events that wait to be told; where there are more, everybody gets a ``resync`` instead."""
_PATIENCE: Final = 0.1
"""Seconds that the next piece waits for those who have read everything before."""

log = structlog.get_logger(__name__)


class Tap(Protocol):
    """Hands over what is durable: see ``audit.log.AuditLog.watch``."""

    def watch(self, watcher: Callable[[Sequence[bytes]], None] | None) -> None: ...  # noqa: D102 - see above


class Feed:
    """One in a gate: ``services.watching()``. Use it from the gate's event loop.

    ``changed`` says which approvals were asked or settled since a time, at most so many; it
    blocks. ``readers`` and ``queued`` are the bounds.
    """

    def __init__(
        self,
        tap: Tap,
        changed: Callable[[float, int], tuple[Approval, ...]],
        clock: Clock,
        *,
        readers: int = READERS,
        queued: int = QUEUED,
    ) -> None:
        self._tap = tap
        self._changed = changed
        self._clock = clock
        self._most = readers
        self._queued = queued
        self._piece = max(1, queued // 4)
        self._readers: set[_Reader] = set()
        self._coming: deque[LiveEvent] = deque()
        self._telling: asyncio.Task[None] | None = None
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._number = 0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def subscribe(
        self, wanted: LiveFilter, operator: str
    ) -> AsyncIterator[AsyncIterator[LiveEvent]]:
        """Events from now on that fit, for an operator, until the feed is closed.

        Raises Problem PC3052 when too many watch already, or this one too often.
        """
        if self._closed or len(self._readers) >= self._most:
            raise Problem("PC3052", f"{len(self._readers)} watch already")
        if sum(one.operator == operator for one in self._readers) >= READERS_EACH:
            raise Problem("PC3052", f"the operator watches {READERS_EACH} times already")
        reader = _Reader(wanted, operator, self._queued)
        self._readers.add(reader)
        self._begin()
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            if not self._readers:
                self._end()

    def close(self) -> None:
        """End for everybody: the gate stops."""
        self._closed = True
        for reader in self._readers:
            reader.end()
        self._end()

    def _begin(self) -> None:
        if self._looking is None:
            loop = asyncio.get_running_loop()

            def take(entries: Sequence[bytes]) -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed, and with it we are
                    loop.call_soon_threadsafe(self._take, entries)

            self._looking = loop.create_task(self._look(self._clock.now()))
            self._tap.watch(take)

    def _end(self) -> None:
        self._tap.watch(None)
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._coming.clear()

    def _take(self, entries: Sequence[bytes]) -> None:
        found = (happened(entry) for entry in entries)
        self._bring(event for event in found if event is not None)

    async def _look(self, since: float) -> None:
        """Look for what other processes do to approvals, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._clock.now()
            if now < since:  # the clock went back
                since = now - _OVERLAP
            try:
                found = await asyncio.to_thread(self._changed, since, _MOST)
            except Exception as error:  # noqa: BLE001 - it is tried again
                log.warning("approvals_not_watched", fault=type(error).__name__)
                continue
            since = max(since, now - _OVERLAP)
            if len(found) < _MOST:
                self._bring(happened_to(approval) for approval in found)
            else:
                self._resync()

    def _bring(self, events: Iterable[LiveEvent]) -> None:
        """Have them told in their order."""
        self._coming.extend(events)
        if len(self._coming) > _BACKLOG:
            self._resync()
        if self._coming and self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._work())

    def _resync(self) -> None:
        """Whatever is wanted: everybody may have missed something."""
        self._coming.clear()
        self._number += 1
        for reader in self._readers:
            reader.resync(self._clock.now(), self._number)

    async def _work(self) -> None:
        """Tell what is coming, a piece at a time."""
        try:
            while self._coming:
                for _ in range(min(self._piece, len(self._coming))):
                    self._tell(self._coming.popleft())
                await self._read()
        finally:
            self._telling = None

    async def _read(self) -> None:
        """Let them read; who does not is not waited for again before it has read everything."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        await asyncio.sleep(0)
        while any(one.behind() for one in self._readers):
            if loop.time() >= until:
                for reader in self._readers:
                    reader.late = reader.late or reader.behind()
                return
            await asyncio.sleep(0.001)

    def _tell(self, event: LiveEvent) -> None:
        """Tell everybody whom it is for; that an approval is in a state, once."""
        if event.state and event.method.partition(".")[2] not in {"reminded", "escalated"}:
            key = event.approval, event.state
            if key in self._told:
                return
            self._told[key] = None
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
        self._number += 1
        for reader in self._readers:
            reader.offer(event, self._number)


class _Reader:
    """One who watches; ``late`` until it has read everything."""

    def __init__(self, wanted: LiveFilter, operator: str, queued: int) -> None:
        self.operator = operator
        self.late = False
        self._wanted = wanted
        self._queued = queued
        self._events: deque[LiveEvent] = deque()
        self._ready = asyncio.Event()
        self._over = False

    def behind(self) -> bool:
        """Whether it is worth while to wait for this one before more is told."""
        return not self.late and len(self._events) > self._queued // 2

    def offer(self, event: LiveEvent, number: int) -> None:
        if not _fits(event, self._wanted):
            return
        if len(self._events) >= self._queued:
            self.resync(event.at, number)
            return
        self._events.append(msgspec.structs.replace(event, id=number))
        self._ready.set()

    def resync(self, at: float, number: int) -> None:
        """In place of all that it has not read."""
        self._events.clear()
        self._events.append(LiveEvent(id=number, at=at, kind="resync"))
        self._ready.set()

    def end(self) -> None:
        self._over = True
        self._ready.set()

    def __aiter__(self) -> AsyncIterator[LiveEvent]:
        return self

    async def __anext__(self) -> LiveEvent:
        while not self._events:
            self.late = False
            if self._over:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._events.popleft()


def _fits(event: LiveEvent, wanted: LiveFilter) -> bool:
    return (
        (not wanted.kinds or event.kind in wanted.kinds)
        and (not wanted.agent or event.agent == wanted.agent)
        and (not wanted.session or event.session == wanted.session)
        and (not wanted.verdict or event.verdict == wanted.verdict)
        and (not wanted.risk or event.risk == wanted.risk)
    )
