"""From durable entries to what others can check: tiles, bundles and the signed checkpoint.

Without witnesses a signed head is the checkpoint. With witnesses it is only ``head``: what
readers see is ``checkpoint``, the last head that a quorum has cosigned (``feeder``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.files import replace
from portcullis.audit.merkle import TILE_WIDTH, Tile, Tree, leaf_hashes
from portcullis.audit.note import Signer
from portcullis.audit.tiles import TileWriter

CHECKPOINT: Final = "checkpoint"
HEAD: Final = "head"
VKEY: Final = "log.vkey"


Offer = Callable[[Checkpoint, bytes], None]


class Derived:
    """The tree over the journal, and what is made from it: tiles and entry bundles.

    Give it only what is durable, in order. No tile is in the way of a reader that holds an older
    checkpoint.
    """

    def __init__(self, directory: Path, tree: Tree) -> None:
        self._directory = directory
        self._tree = tree
        self._tail: list[bytes] = []
        self._tiles = TileWriter(directory)
        self._written: list[Tile] = []

    @property
    def size(self) -> int:
        """How many entries the tree holds, published or not."""
        return self._tree.size

    def add(self, entries: Sequence[bytes], leaves: Sequence[bytes] | None = None) -> None:
        """Put entries into the tree; what became complete is written.

        ``leaves`` are their hashes, where some have been pruned.
        """
        tiles = self._tree.append(leaf_hashes(entries) if leaves is None else leaves)
        self._tail.extend(entries)
        while len(self._tail) >= TILE_WIDTH:
            index = (self._tree.size - len(self._tail)) // TILE_WIDTH
            self._tiles.write_bundle(index, self._tail[:TILE_WIDTH])
            del self._tail[:TILE_WIDTH]
        for tile in tiles:
            self._tiles.write(tile)

    def complete(self) -> bytes:
        """Write the unfinished tiles; the root of everything added so far."""
        if self._tail:
            self._tiles.write_bundle(self._tree.size // TILE_WIDTH, self._tail)
        partial = self._tree.partial()
        for tile in partial:
            if tile not in self._written:
                self._tiles.write(tile)
        self._written = partial
        return self._tree.root()


class Publisher(Derived):
    """Keeps what is derived from the journal up to date, and signs it.

    Nothing is signed before it is in the tiles. ``offer`` is told of each head and has it
    witnessed; without it every head is a checkpoint.
    """

    def __init__(
        self, directory: Path, signer: Signer, tree: Tree, offer: Offer | None = None
    ) -> None:
        super().__init__(directory, tree)
        self._offer = offer
        self._signer = signer
        self.published = -1
        """How many entries the last head covers."""

    def publish(self) -> None:
        """Write the unfinished tiles and sign the head over everything added so far."""
        checkpoint = Checkpoint(self._signer.name, self._tree.size, self.complete())
        note = checkpoint.sign(self._signer)
        replace(self._directory / (HEAD if self._offer else CHECKPOINT), note)
        self.published = self._tree.size
        if self._offer:
            self._offer(checkpoint, note)
