"""Reading a log onwards from a position, and telling whether it is still the same log.

What is read is held against the signed root: a file that was changed on the disk is not exported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.merkle import EMPTY_ROOT, TILE_WIDTH, Tree
from portcullis.audit.note import Verifier
from portcullis.audit.proven import Proven
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import read_head
from portcullis.core.errors import Problem
from portcullis.core.event import Event

_decode: Final = msgspec.json.Decoder(Event).decode


class Position(msgspec.Struct, frozen=True):
    """How much of a log has been read: the first ``next`` entries, whose Merkle root is ``root``.

    ``root`` is hex. Whoever keeps a position can tell a log that was rewritten before it.
    """

    next: int = 0
    root: str = EMPTY_ROOT.hex()


class Source:
    """The signed part of one log. Blocks; reads files only.

    ``refresh`` looks at the log's head; what else is asked is about the log as it was then. Every
    method raises Problem PC6005 for what is not under the signed root, ``refresh`` PC7005 when
    there is no log.
    """

    def __init__(self, directory: Path, verifier: Verifier) -> None:
        self.directory = directory
        self._verifier = verifier
        self._tiles = Proven(TileReader(directory, 0), EMPTY_ROOT)
        self._bundle: tuple[int, list[bytes]] = (-1, [])
        self._anew = False

    @property
    def size(self) -> int:
        """How many entries there are under the head."""
        return self._tiles.size

    def refresh(self) -> int:
        """Read the newest head that the log has signed; the size it covers."""
        head = read_head(self.directory, self._verifier)
        if self._anew or head.size != self._tiles.size:
            self._tiles = Proven(TileReader(self.directory, head.size), head.root)
            self._bundle = (-1, [])
            self._anew = False
        return head.size

    def forget(self) -> None:
        """Read everything from the disk again with the next ``refresh``."""
        self._anew = True

    def read(self, start: int, count: int) -> list[tuple[int, bytes]]:
        """At most ``count`` entries from number ``start`` on, of one bundle."""
        bundle, within = divmod(start, TILE_WIDTH)
        if start >= self.size:
            return []
        if self._bundle[0] != bundle:
            self._bundle = (bundle, self._tiles.entries(bundle))
        return list(enumerate(self._bundle[1][within : within + count], start))

    def position(self, following: int) -> Position:
        """The position before entry ``following``, which is no more than ``size``."""

        def hashes(level: int, index: int) -> tuple[bytes, ...]:
            width = (following >> (8 * level)) % TILE_WIDTH
            return self._tiles.hashes(level, index)[:width]

        return Position(following, Tree.resume(following, hashes).root().hex())

    def holds(self, position: Position) -> bool:
        """Whether the log still begins with what was read."""
        return 0 <= position.next <= self.size and self.position(position.next) == position


def event_of(entry: bytes) -> Event:
    """An entry's event, or Problem PC6005."""
    try:
        return _decode(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Problem("PC6005", "not an event of this version") from None
