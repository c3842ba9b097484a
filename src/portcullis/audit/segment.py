"""Verifying 65 536 entries on their own: a process per core, and no order between them.

So many entries are a whole number of tiles at the two lowest levels, and a segment of the
journal. What lies above, the caller puts together from the segments' roots.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.account import Counter, Tally
from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.journal import Frame, read_segments
from portcullis.audit.merkle import TILE_WIDTH, Tile, Tree, leaf_hash
from portcullis.audit.proven import Proven
from portcullis.audit.tiles import TileReader, tile_path
from portcullis.core.errors import Problem

WIDTH: Final = TILE_WIDTH**2
"""Entries in a whole segment."""
_LEVELS: Final = 2
"""The levels of tiles that a segment has of its own."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One segment: the entries from ``first`` on of a log of ``size`` entries, 65 536 at most.

    ``marks`` are the sizes whose root is asked for. ``since`` is where the earliest time begins to
    count. ``journal`` says whether there is one to compare with.
    """

    directory: str
    first: int
    size: int
    marks: tuple[int, ...]
    since: int
    journal: bool


class Part(msgspec.Struct, kw_only=True):
    """What came of it. ``marks`` has the segment's own edge at each size that was asked for.

    ``broken`` is why the entries could not be read to their end, ``faults`` are tiles that are
    not theirs, ``journal`` is why the journal does not agree; ``left`` counts its entries that
    the log's size does not cover. ``root`` is that of a whole segment.
    """

    faults: list[str] = []
    broken: str = ""
    journal: str = ""
    left: int = 0
    marks: dict[int, tuple[tuple[bytes, ...], ...]] = {}
    root: bytes | None = None
    tally: Tally = msgspec.field(default_factory=Tally)


def check_segment(task: Task) -> Part:
    """Verify one segment. Never raises for what is in the files."""
    part = Part(faults=[], marks={})
    reader = TileReader(Path(task.directory), task.size)
    journal = _JournalEntries(task, part)
    counter = Counter(task.since)
    tree = Tree()
    end = min(task.size, task.first + WIDTH)
    for start in range(task.first, end, TILE_WIDTH):
        try:
            entries = reader.entries(start // TILE_WIDTH)
            leaves = reader.leaves(start // TILE_WIDTH, entries)
        except Problem as problem:
            part.broken = problem.detail
            return part
        counter.add(start, journal.compare(start, entries, leaves), leaves)
        for mark in [mark for mark in sorted(task.marks) if start < mark < start + len(leaves)]:
            upto = mark - task.first - tree.size
            tree.append(leaves[:upto])
            leaves = leaves[upto:]
            part.marks[mark] = tree.edges()
        _compare(reader, task.first, tree.append(leaves), part)
        if task.first + tree.size in task.marks:
            part.marks[task.first + tree.size] = tree.edges()
    if tree.size == WIDTH:
        part.root = tree.edges()[_LEVELS][0]
    else:
        _compare(reader, task.first, tree.partial(), part)
    journal.finish()
    part.tally = counter.close()
    return part


def said_since(directory: Path, old: Checkpoint, new: Checkpoint) -> Tally:
    """The tally of what came after ``old``; Problem PC6005 when ``new`` does not continue it."""
    proven = Proven(TileReader(directory, new.size), new.root)

    def hashes(level: int, index: int) -> tuple[bytes, ...]:
        return proven.hashes(level, index)[: (old.size >> (8 * level)) % TILE_WIDTH]

    if Tree.resume(old.size, hashes).root() != old.root:
        raise Problem("PC6005", "the log's newest head does not continue the one before")
    counter = Counter(new.size)
    for bundle in range(old.size // TILE_WIDTH, -(-new.size // TILE_WIDTH)):
        first, skip = bundle * TILE_WIDTH, max(0, old.size - bundle * TILE_WIDTH)
        entries, leaves = proven.entries(bundle)[skip:], proven.hashes(0, bundle)[skip:]
        counter.add(first + skip, entries, leaves)
    return counter.close()


def compare_tiles(reader: TileReader, tiles: list[Tile]) -> Iterator[str]:
    """Hold tiles against those on disk; each difference is a reason."""
    for tile in tiles:
        try:
            same = reader.hashes(tile.level, tile.index) == tile.hashes
        except Problem as problem:
            yield problem.detail
            continue
        if not same:
            path = tile_path(tile.level, tile.index, len(tile.hashes))
            yield f"{path}: not the hashes of the entries"


def _compare(reader: TileReader, first: int, tiles: list[Tile], part: Part) -> None:
    own = [
        Tile(tile.level, tile.index + (first >> (8 * (tile.level + 1))), tile.hashes)
        for tile in tiles
        if tile.level < _LEVELS
    ]
    part.faults += compare_tiles(reader, own)


class _JournalEntries:
    """The journal's entries of one segment, some at a time; the first fault ends it."""

    def __init__(self, task: Task, part: Part) -> None:
        directory = Path(task.directory) / "journal"
        self._part = part
        self._frames: Iterator[Frame] | None = None
        if task.journal:
            self._frames = read_segments(directory, task.first, task.first + WIDTH)
        self._ready: list[bytes] = []

    def compare(self, first: int, entries: list[bytes], leaves: list[bytes]) -> list[bytes]:
        """Hold them against the bundle's entries; those that neither place has pruned."""
        if self._frames is None:
            return entries
        try:
            ours = self._take(len(entries))
        except Problem as problem:
            self._fail(problem.detail)
            return entries
        if ours == entries:
            return entries
        both = list(zip(ours, entries, leaves, strict=True))
        if not all(our in (b"", entry) or leaf_hash(our) == leaf for our, entry, leaf in both):
            self._fail(f"{tile_path('entries', first // TILE_WIDTH)} and the journal disagree")
            return entries
        return [entry if our else b"" for our, entry, _ in both]

    def finish(self) -> None:
        if self._frames is None:
            return
        try:
            self._part.left = len(self._ready) + sum(len(f.entries) for f in self._frames)
        except Problem as problem:
            self._fail(problem.detail)

    def _take(self, count: int) -> list[bytes]:
        while len(self._ready) < count:
            frame = next(self._frames, None) if self._frames else None
            if frame is None:
                raise Problem("PC6005", "it holds fewer entries than the checkpoint covers")
            self._ready.extend(frame.entries)
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    def _fail(self, reason: str) -> None:
        self._part.journal = self._part.journal or reason
        self._frames = None


def check_segments(tasks: Iterator[Task], processes: int) -> Iterator[Part]:
    """The parts of a log in its order; a few ahead of the last that was taken, no more.

    Whoever wrote the log chose its size: what does not exist must not be waited for.
    """
    first = list(islice(tasks, 2))
    if processes < 2 or len(first) < 2:  # noqa: PLR2004 - more than one of each
        yield from map(check_segment, chain(first, tasks))
        return
    context = multiprocessing.get_context("spawn")
    ahead: deque[Future[Part]] = deque()
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            for task in chain(first, tasks):
                ahead.append(pool.submit(check_segment, task))
                if len(ahead) > 2 * processes:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            raise Problem("PC7007", "a process that verified a part of the log died") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
