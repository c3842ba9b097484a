"""Hashes and entries of a log's files, each held against the root that was signed.

Whoever can write the files can put anything into them: here what is read belongs under the root,
or it is Problem PC6005. Hashing alone, once for each tile and bundle.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Final

from portcullis.audit.merkle import TILE_WIDTH, Tree, fold
from portcullis.audit.pruned import leaves
from portcullis.audit.tiles import ENTRIES, TileReader, tile_path
from portcullis.core.errors import Problem

_CACHED: Final = 64


class Proven:
    """What ``reader`` reads of the tree whose root is ``root``. Every method may raise PC6005."""

    def __init__(self, reader: TileReader, root: bytes) -> None:
        self.size: Final = reader.size
        self._reader = reader
        self._root = root
        self._tile = lru_cache(_CACHED)(self._read)

    def hashes(self, level: int, index: int) -> tuple[bytes, ...]:
        """The hashes of a tile, as many as belong to this size."""
        return self._tile(level, index)

    def entries(self, index: int) -> list[bytes]:
        """The entries of a bundle; one that was pruned is empty."""
        hashes = self.hashes(0, index)
        entries = self._reader.entries(index)
        if tuple(leaves(entries, hashes.__getitem__)) != hashes:
            raise _not_signed(ENTRIES, index, len(hashes))
        return entries

    @cached_property
    def _edge(self) -> tuple[tuple[bytes, ...], ...]:
        """The unfinished tile of each level: what the root is made of."""
        tree = Tree.resume(self.size, self._reader.hashes)
        if tree.root() != self._root:
            raise Problem("PC6005", "the log's tiles do not give the root that was signed")
        return tree.edges()

    def _read(self, level: int, index: int) -> tuple[bytes, ...]:
        edge = self._edge
        found = self._reader.hashes(level, index)
        if len(found) < TILE_WIDTH:
            return edge[level]
        above, place = divmod(index, TILE_WIDTH)
        if self.hashes(level + 1, above)[place] != fold(found):
            raise _not_signed(level, index, TILE_WIDTH)
        return found


def _not_signed(level: int | str, index: int, width: int) -> Problem:
    return Problem("PC6005", f"{tile_path(level, index, width)}: not what was signed")
