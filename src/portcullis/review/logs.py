"""The logs of a deployment, and reading what is new in all of them in the order of its time."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.merkle import TILE_WIDTH
from portcullis.audit.note import Verifier
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem
from portcullis.review.facts import Facts, Position
from portcullis.review.fold import Fold
from portcullis.review.leaf import Leaf, read

_REST: Final = 24
"""How many times as long as it worked a patient fold rests, bundle by bundle."""
_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)


class Log(NamedTuple):
    """One log: its name, the folder it lies in, its key.

    ``resting`` is one that nobody writes any more: a gateway's that does not run.
    """

    name: str
    place: Path
    verifier: Verifier
    resting: bool = False


class Logs(NamedTuple):
    """A deployment's logs; ``own`` is that of who rules.

    ``missing`` are the names of logs that there have to be and that are not there.
    """

    own: Log
    others: tuple[Log, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def each(self) -> tuple[Log, ...]:
        """All that are there. That of who rules is last.

        Whatever a gateway did is read before what was then said of who may.
        """
        return (*self.others, self.own)


Stopped = Callable[[str, Problem], None]
"""Is told of a log, by its name, that cannot be read to its end."""


def folded(
    logs: Logs,
    facts: Facts,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    rest: Callable[[float], bool] | None = None,
    stopped: Stopped | None = None,
    known: Mapping[str, Position] | None = None,
) -> tuple[Facts, dict[str, bytes]]:
    """Go on folding up to each log's checkpoint; also these checkpoints' notes, by log.

    ``known`` is what was evaluated of the logs before, and what they have to hold still: by default
    what ``facts`` say.

    ``rest`` is called with seconds after each bundle, to sleep, and says whether to go on.
    ``stopped`` is told of a log with an entry that cannot be read, whose checkpoint is none, or
    that does not hold what was evaluated of it; the facts are those of the entries before, and of
    the other logs. Without it that is raised, Problem PC6005, or PC7005 for no log; so it is for
    the checkpoint of the log of who rules. What is read is not verified here.
    """
    reading = _Reading(Fold(facts, since=since, until=until), rest, stopped)
    notes: dict[str, bytes] = {}
    streams = []
    for log in logs.each:
        place = facts.logs.get(log.name)
        reading.fold.log(log.name, log.verifier.name)
        try:
            checkpoint, notes[log.name] = read_checkpoint(log.place, log.verifier)
            held = (facts.logs if known is None else known).get(log.name)
            if held is not None:
                require_same(log, checkpoint, held)
        except Problem as problem:
            if stopped is None or (log.name not in notes and log is logs.own):
                raise Problem(problem.code, f"{log.name}: {problem.detail}") from None
            stopped(log.name, problem)
            continue
        streams.append(reading.stream(log, checkpoint, place.size if place else 0))
    for found in heapq.merge(*streams, key=_time):
        if reading.ended:
            break
        if found.leaf is None:
            reading.fold.skip(found.log, found.entry)
        else:
            reading.fold.take(found.log, found.leaf, found.entry)
    return reading.fold.facts(), notes


def require_same(log: Log, checkpoint: Checkpoint, held: Position) -> None:
    """Raise Problem PC6005 unless a log still holds what was evaluated of it.

    Whoever has its key can sign a shorter log, or another one, that is whole in itself.
    """
    if held.size > checkpoint.size:
        raise Problem("PC6005", "the log ends before what was evaluated of it")
    if not held.size:
        return
    bundle, at = divmod(held.size - 1, TILE_WIDTH)
    reader = TileReader(log.place, checkpoint.size)
    if reader.leaves(bundle, reader.entries(bundle))[at] != held.tail:
        raise Problem("PC6005", "the log is another than what was evaluated of it")


class _Found(NamedTuple):
    """An entry of a log, and what was read of it; of one that was pruned its hash, and None."""

    log: str
    time: datetime
    entry: bytes
    leaf: Leaf | None


def _time(found: _Found) -> datetime:
    return found.time


class _Reading:
    """One pass over several logs; ``ended`` is set when there is to be no more of it."""

    def __init__(
        self, fold: Fold, rest: Callable[[float], bool] | None, stopped: Stopped | None
    ) -> None:
        self.fold = fold
        self.ended = False
        self._rest = rest
        self._stopped = stopped
        self._began = time.perf_counter()

    def stream(self, log: Log, checkpoint: Checkpoint, start: int) -> Iterator[_Found]:
        """The entries of a log from number ``start`` on."""
        reader = TileReader(log.place, checkpoint.size)
        try:
            for bundle in range(start // TILE_WIDTH, -(-checkpoint.size // TILE_WIDTH)):
                entries = reader.entries(bundle)
                first = max(0, start - bundle * TILE_WIDTH)
                yield from self._bundle(log.name, bundle, entries, first, reader)
                if not self._pause():
                    return
        except Problem as problem:
            if self._stopped is None:
                raise Problem(problem.code, f"{log.name}: {problem.detail}") from None
            self._stopped(log.name, problem)

    @staticmethod
    def _bundle(
        name: str, bundle: int, entries: Sequence[bytes], first: int, reader: TileReader
    ) -> Iterator[_Found]:
        when = _NEVER
        for at in range(first, len(entries)):
            if entries[at]:
                leaf = read(bundle * TILE_WIDTH + at, entries[at])
                when = leaf.time
                yield _Found(name, when, entries[at], leaf)
            else:
                yield _Found(name, when, reader.hashes(0, bundle)[at], None)

    def _pause(self) -> bool:
        if self._rest is not None and not self.ended:
            self.ended = not self._rest(_REST * (time.perf_counter() - self._began))
            self._began = time.perf_counter()
        return not self.ended
