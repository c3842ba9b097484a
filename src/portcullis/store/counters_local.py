"""Counts in the memory of one process, which survive it: microseconds for a call, not a commit.

What is durable of a count is a *mark*: a value that the count has not passed. Only when it would,
a higher mark is written, and waited for, before anything is granted; so that a process that is
killed finds counts that are too high, by at most a step, and never too low. Marks come down to the
counts again every second, and at the end.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.limits import MICROS, MOST, Amount, Over, Rate, Reservation, Slot, Used, Want
from portcullis.core.ports import Clock
from portcullis.store.counters import LEASE, changed, changes, decide, ends
from portcullis.store.counters_thread import CountFile

STEPS: Final = 32
"""A mark is this part of a limit ahead of its count, at most: what a crash can cost."""
_SWEEP_SECONDS: Final = 1.0
MOST_COUNTS: Final = 200_000
"""Most counts at once; beyond them nothing new is counted, and what it would count is denied."""


class _Count:
    """``durable`` is the mark on disk, ``mark`` the one that ``writing`` is to make durable."""

    __slots__ = ("durable", "ends_at", "kind", "mark", "value", "writing")

    def __init__(self, kind: str, value: int, ends_at: float, *, durable: int = 0) -> None:
        self.kind = kind
        self.value = value
        self.ends_at = ends_at
        self.durable = self.mark = durable
        self.writing: asyncio.Future[None] | None = None


class LocalCounter:
    """Implements ``core.limit_ports.Counter`` for one process. Use it from one event loop.

    Raises Problem PC6003 when another process counts in this file.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._file = CountFile(path)
        self._alone = os.open(path.with_name(f"{path.name}.alone"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._alone)
            raise Problem("PC6003", f"another process counts in {path}") from None
        self._counts: dict[str, _Count] = {}
        for key, kind, value, ends_at in self._file.read(_all):
            self._counts[key] = _Count(kind, value, ends_at, durable=value)
        self._places: dict[str, dict[str, float]] = {}
        self._alive: dict[str, float] = {}
        self._swept = 0.0
        self._closed = False

    async def reserve(
        self, reservation: str, wants: Sequence[Want], *, hold: float
    ) -> Reservation | Over:
        """See Counter."""
        now = self._clock.now()
        if now - self._swept >= _SWEEP_SECONDS:
            self._sweep(now)
        decided = decide(wants, self._values(wants, now), now)
        if isinstance(decided, Over):
            return decided
        after, states = decided
        made = Reservation(id=reservation, wants=tuple(wants), states=states)
        waiting = self._take(made, after, now)
        self._alive[reservation] = now + hold
        if waiting:
            try:
                for one in waiting:
                    await asyncio.shield(one)
            except BaseException:  # not durable, or nobody waits for it any more
                self._end(made, None)
                raise
        return made

    async def peek(self, wants: Sequence[Want]) -> Over | None:
        """See Counter."""
        now = self._clock.now()
        decided = decide(wants, self._values(wants, now), now)
        return decided if isinstance(decided, Over) else None

    async def settle(self, reservation: Reservation, actual: Sequence[int]) -> None:
        """See Counter."""
        await self._ended(reservation, actual)

    async def release(self, reservation: Reservation) -> None:
        """See Counter."""
        await self._ended(reservation, None)

    async def renew(self, reservations: Sequence[Reservation]) -> None:
        """See Counter."""
        until = self._clock.now() + LEASE
        for one in reservations:
            for want in one.wants:
                if isinstance(want, Slot) and one.id in self._alive:
                    self._places.setdefault(want.key, {})[one.id] = until

    async def read(self, keys: Sequence[str]) -> tuple[int, ...]:
        """See Counter."""
        now = self._clock.now()
        return tuple(self._value(key, now) for key in keys)

    async def page(self, after: str, count: int) -> tuple[Used, ...]:
        """See Counter."""
        now = self._clock.now()
        found = [
            Used(key=key, kind=one.kind, value=one.value, ends_at=one.ends_at)
            for key, one in self._counts.items()
            if key > after and one.ends_at > now
        ]
        for key, places in self._places.items():
            alive = [until for until in places.values() if until > now]
            if key > after and alive:
                found.append(Used(key=key, kind="slots", value=len(alive), ends_at=max(alive)))
        return tuple(sorted(found, key=lambda one: one.key)[:count])

    async def close(self) -> None:
        """See Counter."""
        if self._closed:
            return
        self._closed = True
        self._sweep(self._clock.now())
        await self._file.close()
        os.close(self._alone)

    def _take(
        self, made: Reservation, after: Sequence[int], now: float
    ) -> list[asyncio.Future[None]]:
        """Count what was granted; what has to be durable before anything goes."""
        waiting: list[asyncio.Future[None]] = []
        raised: list[tuple[_Count, str]] = []
        for want, value in zip(made.wants, after, strict=True):
            if isinstance(want, Slot):
                self._places.setdefault(want.key, {})[made.id] = now + LEASE
                continue
            count = self._count(want, now)
            count.value, count.ends_at = value, ends(want, value)
            if value > count.durable:
                self._raise(want, count, raised)
                if count.writing is not None:
                    waiting.append(count.writing)
        if raised:
            self._write(raised)
            waiting += [count.writing for count, _ in raised if count.writing is not None]
        return waiting

    def _values(self, wants: Sequence[Want], now: float) -> list[int]:
        return [
            self._taken(want.key, now) if isinstance(want, Slot) else self._value(want.key, now)
            for want in wants
        ]

    def _value(self, key: str, now: float) -> int:
        count = self._counts.get(key)
        return 0 if count is None or count.ends_at <= now else count.value

    def _taken(self, key: str, now: float) -> int:
        places = self._places.get(key)
        if not places:
            return 0
        for name in [name for name, until in places.items() if until <= now]:
            del places[name]
        return len(places)

    def _count(self, want: Amount | Rate, now: float) -> _Count:
        """The count of a want; one whose window is over begins anew, and so does its mark."""
        count = self._counts.get(want.key)
        if count is None:
            if len(self._counts) >= MOST_COUNTS:
                raise Problem("PC3073", "too much is counted already")
            kind = "rate" if isinstance(want, Rate) else "amount"
            count = self._counts[want.key] = _Count(kind, 0, 0.0)
        elif count.ends_at <= now and count.kind == "amount":
            count.durable = count.mark = 0
        return count

    def _raise(self, want: Amount | Rate, count: _Count, raised: list[tuple[_Count, str]]) -> None:
        """Have a mark above the count's value: one on its way may do."""
        if count.value <= count.mark and count.writing is not None:
            return
        if isinstance(want, Amount):
            ahead = min(count.value + want.ceiling // STEPS, max(want.ceiling, count.value))
            count.mark = min(ahead, MOST)
        else:
            step = want.interval * want.burst // STEPS
            count.mark = min(count.value + max(step, MICROS), MOST)
        raised.append((count, want.key))

    def _write(self, raised: Sequence[tuple[_Count, str]]) -> None:
        """Write marks: who needs them waits for ``writing``."""
        rows = [(key, count.kind, count.mark, _until(count)) for count, key in raised]
        writing = asyncio.ensure_future(self._file.enqueue(lambda db: _put(db, rows)))
        marks = [(count, count.mark) for count, _ in raised]
        for count, _ in raised:
            count.writing = writing

        def written(done: asyncio.Future[None]) -> None:
            good = not done.cancelled() and done.exception() is None
            for count, mark in marks:
                if good:
                    count.durable = max(count.durable, mark)
                if count.writing is done:
                    count.writing = None
                    count.mark = count.durable

        writing.add_done_callback(written)

    async def _ended(self, reservation: Reservation, actual: Sequence[int] | None) -> None:
        waiting = self._end(reservation, actual)
        if waiting is not None:
            await asyncio.shield(waiting)

    def _end(
        self, reservation: Reservation, actual: Sequence[int] | None
    ) -> asyncio.Future[None] | None:
        now = self._clock.now()
        until = self._alive.pop(reservation.id, 0.0)
        raised: list[tuple[_Count, str]] = []
        for want, change in changes(reservation.wants, actual, alive=until > now):
            if isinstance(want, Slot) or (isinstance(want, Amount) and want.ends_at <= now):
                continue
            count = self._count(want, now)
            count.value = changed(self._value(want.key, now), change)
            count.ends_at = ends(want, count.value)
            if count.value > count.durable:
                self._raise(want, count, raised)
        for want in reservation.wants:
            if isinstance(want, Slot):
                self._places.get(want.key, {}).pop(reservation.id, None)
        if not raised:
            return None
        self._write(raised)
        return raised[0][0].writing

    def _sweep(self, now: float) -> None:
        """Forget what is over, and bring marks down to their counts, without waiting for it."""
        self._swept = now
        gone, lowered = [], []
        for key, count in self._counts.items():
            nothing = not count.value and count.kind == "amount"
            if (nothing or count.ends_at <= now) and count.writing is None:
                gone.append(key)
            elif count.durable > count.value and count.writing is None:
                count.durable = count.mark = count.value
                lowered.append((key, count.kind, count.value, _until(count)))
        for key in gone:
            del self._counts[key]
        for key in [key for key in self._places if not self._taken(key, now)]:
            del self._places[key]
        for name in [name for name, until in self._alive.items() if until <= now]:
            del self._alive[name]
        if gone or lowered:
            self._file.enqueue(lambda db: _put(db, lowered, gone)).add_done_callback(_seen)


def _until(count: _Count) -> float:
    """When a mark may be forgotten: a rate's when its time has come."""
    return count.mark / MICROS if count.kind == "rate" else count.ends_at


def _all(db: sqlite3.Connection) -> list[tuple[str, str, int, float]]:
    return db.execute("SELECT key, kind, value, ends_at FROM counts").fetchall()


def _put(
    db: sqlite3.Connection,
    rows: Sequence[tuple[str, str, int, float]],
    gone: Sequence[str] = (),
) -> None:
    db.executemany("DELETE FROM counts WHERE key = ?", [(key,) for key in gone])
    db.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?)", rows)


def _seen(done: asyncio.Future[None]) -> None:
    """A mark that did not come down costs nobody more than a step."""
    if not done.cancelled():
        done.exception()
