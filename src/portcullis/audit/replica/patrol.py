"""Looking again at what was shipped: some objects a minute, one after the other, then anew.

A full bundle must give the hashes of the log's own tile, a full tile be the log's own. What is
missing is put there again; what is another object stays, and is told.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Final

from portcullis.audit.proven import Proven
from portcullis.audit.replica.copy import Copy, agrees
from portcullis.audit.replica.worker import Alarm
from portcullis.audit.tiles import ENTRIES, MAX_FILE, pack, tile_path
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.record_ports import ObjectStore

_MOST_WRONG: Final = 64
"""So many objects that differ are remembered by name."""
_random: Final = secrets.SystemRandom()


class Patrol:
    """Goes round one replica.

    ``missing`` is raised by an object that is not there, and cleared by a round in which all were.
    A round is over the objects that there are when it begins; the first begins anywhere, so that
    a gate that is often started anew comes to all of them. ``checked`` and ``restored`` count.
    """

    def __init__(
        self,
        store: ObjectStore,
        copy: Copy,
        missing: Alarm,
        *,
        per_minute: float,
        clock: Clock,
    ) -> None:
        self._store = store
        self._copy = copy
        self._missing = missing
        self._rate = per_minute / 60
        self._clock = clock
        self._at = clock.monotonic()
        self._size = 0
        self._first = 0
        self._done = 0
        self._total = 0
        self._clean = False
        self._wrong: dict[str, tuple[int | str, int, str]] = {}
        self.checked = 0
        self.restored = 0

    @property
    def wrong(self) -> tuple[str, ...]:
        """What is wrong with the objects that have not been found right since."""
        return tuple(reason for _, _, reason in self._wrong.values())

    def due(self) -> int:
        """How many objects it is time to look at; a minute's at most, and as many once."""
        now = self._clock.monotonic()
        count = int(min((now - self._at) * self._rate, max(1.0, 60 * self._rate)))
        if count:
            self._at = now
        return count

    def look(self, count: int, log: Proven) -> None:
        """Look at so many objects of the log, and again at one that was wrong.

        Raises Problem PC6021 when the store cannot be used; what was not looked at then is looked
        at the next time.
        """
        if self._wrong:
            level, index, _ = next(iter(self._wrong.values()))
            self._one(log, level, index)
        for _ in range(count):
            if self._done == self._total and not self._begin(log.size):
                return
            level, index = _object(self._size, (self._first + self._done) % self._total)
            self._one(log, level, index)
            self._done += 1

    def _begin(self, size: int) -> bool:
        """End a round and begin the next; False when there is nothing to look at."""
        if self._clean:
            with contextlib.suppress(Problem):  # as below
                self._missing.end()
        self._first = 0 if self._total else _random.randrange(max(1, sum(_counts(size))))
        self._size, self._done, self._total = size, 0, sum(_counts(size))
        self._clean = True
        return bool(self._total)

    def _one(self, log: Proven, level: int | str, index: int) -> None:
        path = tile_path(level, index)
        try:
            same = self._there(log, level, index)
            reason = "" if same else f"{path}: another object is there"
        except Problem as problem:
            if problem.code not in {"PC6005", "PC6020"}:
                raise
            reason = problem.detail
        self.checked += 1
        self._wrong.pop(path, None)
        if reason and len(self._wrong) < _MOST_WRONG:
            self._wrong[path] = level, index, reason

    def _there(self, log: Proven, level: int | str, index: int) -> bool:
        """Whether it is the log's object, which it is when it was missing and put there again."""
        path = tile_path(level, index)
        found = self._store.get(path, MAX_FILE)
        if found is not None:
            return _same(log, level, index, found)
        self._clean = False
        with contextlib.suppress(Problem):  # the log takes nothing; the next one says it
            self._missing.begin(object=path)
        self._copy.keep(path, _own(log, level, index))
        self.restored += 1
        return True


def _counts(size: int) -> Iterator[int]:
    """How many full bundles, and full tiles of each level, a log of this size has."""
    count = size >> 8
    yield count
    while count:
        yield count
        count >>= 8


def _object(size: int, number: int) -> tuple[int | str, int]:
    """Level and index of one of them."""
    for row, count in enumerate(_counts(size)):
        if number < count:
            return row - 1 if row else ENTRIES, number
        number -= count
    raise IndexError(number)


def _own(log: Proven, level: int | str, index: int) -> bytes:
    if isinstance(level, str):
        return pack(log.entries(index))
    return b"".join(log.hashes(level, index))


def _same(log: Proven, level: int | str, index: int, found: bytes) -> bool:
    if not isinstance(level, str):
        return found == _own(log, level, index)
    hashes = log.hashes(0, index)
    if agrees(found, [b"-"] * len(hashes), hashes):
        return True  # nothing is pruned there, so it does not matter what is here
    return agrees(found, log.entries(index), hashes)
