"""Counts that all processes of one machine share, in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from portcullis.core.limits import Amount, Over, Rate, Reservation, Slot, Used, Want
from portcullis.core.ports import Clock
from portcullis.store.counters import LEASE, changed, changes, decide, ends
from portcullis.store.counters_thread import CountFile

_COUNT = """INSERT INTO counts (key, kind, value, ends_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends_at = excluded.ends_at"""
_FORGET = 32
"""How many counts whose window is over go with each reservation."""


class SharedCounter:
    """Implements ``core.limit_ports.Counter``: each call is durable when it returns."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = CountFile(path)
        self._clock = clock

    async def reserve(
        self, reservation: str, wants: Sequence[Want], *, hold: float
    ) -> Reservation | Over:
        """See Counter."""
        now = self._clock.now()

        def work(db: sqlite3.Connection) -> Reservation | Over:
            decided = decide(wants, _values(db, wants, now), now)
            if isinstance(decided, Over):
                return decided
            after, states = decided
            for want, value in zip(wants, after, strict=True):
                if isinstance(want, Slot):
                    row = (want.key, reservation, now + LEASE)
                    db.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", row)
                elif value:  # of nothing there is no count
                    db.execute(_COUNT, (want.key, _kind(want), value, ends(want, value)))
            db.execute(
                "INSERT OR REPLACE INTO reservations VALUES (?, ?)", (reservation, now + hold)
            )
            _forget(db, now)
            return Reservation(id=reservation, wants=tuple(wants), states=states)

        return await self._file.submit(work)

    async def peek(self, wants: Sequence[Want]) -> Over | None:
        """See Counter."""
        now = self._clock.now()
        decided = await self._file.submit(lambda db: decide(wants, _values(db, wants, now), now))
        return decided if isinstance(decided, Over) else None

    async def settle(self, reservation: Reservation, actual: Sequence[int]) -> None:
        """See Counter."""
        await self._end(reservation, actual)

    async def release(self, reservation: Reservation) -> None:
        """See Counter."""
        await self._end(reservation, None)

    async def renew(self, reservations: Sequence[Reservation]) -> None:
        """See Counter."""
        until = self._clock.now() + LEASE
        rows = [(key, until, one.id) for one in reservations for key in _places(one.wants)]
        if rows:  # also those that were lost meanwhile: they run, and have to count
            await self._file.submit(
                lambda db: db.executemany(
                    "INSERT OR REPLACE INTO places (key, reservation, until)"
                    " SELECT ?, id, ? FROM reservations WHERE id = ?",
                    rows,
                )
            )

    async def read(self, keys: Sequence[str]) -> tuple[int, ...]:
        """See Counter."""
        now = self._clock.now()
        return await self._file.submit(lambda db: tuple(_used(db, key, now) for key in keys))

    async def page(self, after: str, count: int) -> tuple[Used, ...]:
        """See Counter."""
        now = self._clock.now()

        def work(db: sqlite3.Connection) -> tuple[Used, ...]:
            counted = db.execute(
                "SELECT key, kind, value, ends_at FROM counts WHERE key > ? AND ends_at > ?"
                " ORDER BY key LIMIT ?",
                (after, now, count),
            )
            found = [Used(key=k, kind=d, value=v, ends_at=e) for k, d, v, e in counted]
            taken = db.execute(
                "SELECT key, COUNT(*), MAX(until) FROM places WHERE key > ? AND until > ?"
                " GROUP BY key ORDER BY key LIMIT ?",
                (after, now, count),
            )
            found += [Used(key=k, kind="slots", value=v, ends_at=e) for k, v, e in taken]
            return tuple(sorted(found, key=lambda one: one.key)[:count])

        return await self._file.submit(work)

    async def close(self) -> None:
        """See Counter."""
        await self._file.close()

    async def _end(self, reservation: Reservation, actual: Sequence[int] | None) -> None:
        now = self._clock.now()

        def work(db: sqlite3.Connection) -> None:
            row = db.execute(
                "DELETE FROM reservations WHERE id = ? RETURNING until", (reservation.id,)
            ).fetchone()
            alive = row is not None and row[0] > now
            for want, change in changes(reservation.wants, actual, alive=alive):
                if isinstance(want, Amount) and want.ends_at <= now:
                    continue
                value = changed(_used(db, want.key, now), change)
                if value:
                    db.execute(_COUNT, (want.key, _kind(want), value, ends(want, value)))
                else:
                    db.execute("DELETE FROM counts WHERE key = ?", (want.key,))
            for key in _places(reservation.wants):
                ended = (key, reservation.id)
                db.execute("DELETE FROM places WHERE key = ? AND reservation = ?", ended)

        await self._file.submit(work)


def _values(db: sqlite3.Connection, wants: Sequence[Want], now: float) -> list[int]:
    return [
        _taken(db, want.key, now) if isinstance(want, Slot) else _used(db, want.key, now)
        for want in wants
    ]


def _used(db: sqlite3.Connection, key: str, now: float) -> int:
    row = db.execute("SELECT value, ends_at FROM counts WHERE key = ?", (key,)).fetchone()
    return 0 if row is None or row[1] <= now else int(row[0])


def _taken(db: sqlite3.Connection, key: str, now: float) -> int:
    found = db.execute("SELECT COUNT(*) FROM places WHERE key = ? AND until > ?", (key, now))
    return int(found.fetchone()[0])


def _forget(db: sqlite3.Connection, now: float) -> None:
    db.execute(
        "DELETE FROM counts WHERE key IN (SELECT key FROM counts WHERE ends_at <= ? LIMIT ?)",
        (now, _FORGET),
    )
    for table in ("places", "reservations"):
        db.execute(f"DELETE FROM {table} WHERE until <= ?", (now,))  # noqa: S608 - our own names


def _kind(want: Want) -> str:
    return "rate" if isinstance(want, Rate) else "amount"


def _places(wants: Iterable[Want]) -> list[str]:
    return [want.key for want in wants if isinstance(want, Slot)]
