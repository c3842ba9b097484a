"""The Merkle tree of RFC 6962 section 2.1, kept as the tiles of C2SP tlog-tiles.

A hash is 32 bytes (SHA-256). A *node* ``(level, index)`` is the root of the complete subtree
over leaves ``index * 2**level`` to ``(index + 1) * 2**level``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

TILE_WIDTH: Final = 256
HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 || entry)."""
    return sha256(b"\0" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """The same of many leaves."""
    return [sha256(b"\0" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 || left || right)."""
    return sha256(b"\1" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over subtrees of equal size, of which only the last may be incomplete."""
    if not hashes:
        return EMPTY_ROOT
    row = hashes
    while len(row) > 1:
        pairs = [sha256(b"\1" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)]
        if len(row) % 2:
            pairs.append(row[-1])
        row = pairs
    return row[0]


def root_of(edges: Iterable[Sequence[bytes]]) -> bytes:
    """The root of a tree from its right edge: the unfinished tile of each level, lowest first."""
    root: list[bytes] = []
    for hashes in edges:
        if hashes:
            root = [fold([*hashes, *root])]
    return root[0] if root else EMPTY_ROOT


class Tile(msgspec.Struct, frozen=True):
    """Consecutive hashes at one tile level; complete when there are 256 of them."""

    level: int
    index: int
    hashes: tuple[bytes, ...]


class Tree:
    """A growing tree that remembers only its right edge: one unfinished tile per level."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[list[bytes]] = [[]]

    @classmethod
    def resume(cls, size: int, read: Callable[[int, int], Sequence[bytes]]) -> Tree:
        """The tree of ``size`` leaves; ``read(level, index)`` returns a partial tile of it."""
        tree = cls()
        tree.size = size
        tree._edge = []
        while size:
            index, width = divmod(size, TILE_WIDTH)
            tree._edge.append(list(read(len(tree._edge), index)) if width else [])
            size = index
        return tree if tree._edge else cls()

    def append(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Add leaf hashes, in order; return the tiles that became complete, lowest first."""
        done: list[Tile] = []
        for leaf in leaves:
            self._edge[0].append(leaf)
            self.size += 1
            if len(self._edge[0]) == TILE_WIDTH:
                self._complete(done)
        return done

    def _complete(self, done: list[Tile]) -> None:
        level, count = 0, self.size
        while len(self._edge[level]) == TILE_WIDTH:
            count //= TILE_WIDTH
            hashes = tuple(self._edge[level])
            done.append(Tile(level, count - 1, hashes))
            self._edge[level] = []
            level += 1
            if level == len(self._edge):
                self._edge.append([])
            self._edge[level].append(fold(hashes))

    def partial(self) -> list[Tile]:
        """The unfinished tiles that belong to a checkpoint of the present size."""
        return [
            Tile(level, self.size >> (8 * (level + 1)), tuple(hashes))
            for level, hashes in enumerate(self._edge)
            if hashes
        ]

    def root(self) -> bytes:
        """The Merkle tree hash of the present size."""
        return root_of(self._edge)

    def edges(self) -> tuple[tuple[bytes, ...], ...]:
        """The unfinished tile of each level, lowest first: what ``root_of`` takes."""
        return tuple(map(tuple, self._edge))
