"""Bringing a store from one state of a log to a later one: proven first, written then.

First the tree is grown over the source's leaf hashes, and must give the signed root: so what was
there before is a prefix of what is signed now. Then every bundle of entries must give the very
hashes that were proven, and is written, then the tiles, and the checkpoint comes last. A reader
of the store finds at any moment a log that verifies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from hashlib import sha256

import msgspec

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.merkle import TILE_WIDTH, Tile, Tree, leaf_hash
from portcullis.audit.publish import CHECKPOINT
from portcullis.audit.tiles import ENTRIES, MAX_FILE, TileReader, pack, tile_path, unpack
from portcullis.core.errors import Problem
from portcullis.core.record_ports import ObjectStore, Retention

Lock = Callable[[], Retention | None]
"""How long what is written now is to be kept; None for no lock."""


Same = Callable[[bytes], bool]
"""Whether what is there is as good as what was to be written."""


class Growth(msgspec.Struct, frozen=True):
    """What a store lacks of a proven tree: a digest per tile of leaf hashes, from ``first`` on."""

    first: int
    digests: tuple[bytes, ...]
    tiles: tuple[Tile, ...]


class Copy:
    """Writes one log into one store. Full bundles and tiles are made once and never replaced.

    ``lock`` is for them; ``progress`` is called between two of them. Methods raise Problem PC6021
    when the store cannot be used, PC6020 when it holds something else where this log belongs.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        lock: Lock = lambda: None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._lock = lock
        self._progress = progress

    def extend(self, tree: Tree, source: TileReader, signed: Checkpoint) -> None:
        """Write what a store that holds ``tree`` lacks for ``signed``, but not the checkpoint.

        Raises Problem PC6005, and has written nothing that was not proven, when the source is not
        a continuation of ``tree`` up to ``signed``. The tree has grown, or is of no use then.
        """
        growth = grow(tree, source, signed)
        for index, digest in enumerate(growth.digests, growth.first):
            self._bundle(source, index, digest)
            self._progress()
        for tile in growth.tiles:
            self._put(tile.level, tile.index, len(tile.hashes), b"".join(tile.hashes))

    def publish(self, note: bytes, old: int, new: int) -> None:
        """Put the checkpoint over ``new`` entries, and drop what only that over ``old`` needed."""
        self._store.put(CHECKPOINT, note, replace=True)
        self._drop_partial(old, new)

    def keep(
        self, path: str, data: bytes, *, lock: bool = True, same: Same = lambda _: False
    ) -> None:
        """Write an object once; one that is there must be the same, or ``same`` says so of it."""
        retention = self._lock() if lock else None
        if self._store.put(path, data, retention=retention):
            return
        found = self._store.get(path, max(MAX_FILE, len(data)))
        if found != data and not (found is not None and same(found)):
            raise Problem("PC6020", f"{path}: another object is there")

    def _bundle(self, source: TileReader, index: int, digest: bytes) -> None:
        entries = source.entries(index)
        hashes = tuple(source.leaves(index, entries))
        if _digest(hashes) != digest:
            raise Problem("PC6005", f"{tile_path(ENTRIES, index)}: not what was signed")
        self.keep(
            tile_path(ENTRIES, index, len(entries)),
            pack(entries),
            lock=len(entries) == TILE_WIDTH,
            same=lambda found: agrees(found, entries, hashes),
        )
        self._put(0, index, len(entries), b"".join(hashes))

    def _put(self, level: int | str, index: int, width: int, data: bytes) -> None:
        self.keep(tile_path(level, index, width), data, lock=width == TILE_WIDTH)

    def _drop_partial(self, old: int, new: int) -> None:
        """Delete the partial files that full ones have replaced; they stay where that is denied."""
        level = 0
        while old:
            index = old // TILE_WIDTH
            if new // TILE_WIDTH > index:
                for name in (level, ENTRIES) if not level else (level,):
                    with contextlib.suppress(Problem):
                        for path in self._store.list(f"{tile_path(name, index)}.p"):
                            self._store.delete(path)
            level, old, new = level + 1, index, new // TILE_WIDTH


def agrees(found: bytes, entries: Sequence[bytes], hashes: Sequence[bytes]) -> bool:
    """Whether a bundle has these leaf hashes: it may have more of what was pruned, and not less."""
    try:
        there = unpack(found)
    except ValueError:
        return False
    return len(there) == len(entries) and all(
        leaf_hash(one) == known if one else not ours
        for one, ours, known in zip(there, entries, hashes, strict=True)
    )


def grow(tree: Tree, source: TileReader, signed: Checkpoint) -> Growth:
    """Grow ``tree`` to what was signed; Problem PC6005 when the source's leaves do not give it.

    The tree is of no use after a Problem.
    """
    first, known = divmod(tree.size, TILE_WIDTH)
    ours = next((t.hashes for t in tree.partial() if t.level == 0), ())
    digests: list[bytes] = []
    done: list[Tile] = []
    for index in range(first, -(-signed.size // TILE_WIDTH)):
        hashes = source.hashes(0, index)
        if index == first and hashes[:known] != ours:
            raise Problem("PC6005", "the log is not a continuation of what was seen of it")
        digests.append(_digest(hashes))
        done += (t for t in tree.append(hashes[known if index == first else 0 :]) if t.level)
    if tree.size != signed.size or tree.root() != signed.root:
        raise Problem("PC6005", "the log's hashes are not a continuation of what was seen of it")
    partial = [tile for tile in tree.partial() if tile.level]
    return Growth(first, tuple(digests), (*done, *partial))


def _digest(hashes: tuple[bytes, ...]) -> bytes:
    return sha256(b"".join(hashes)).digest()
