"""The files of C2SP tlog-tiles: hash tiles and entry bundles in a directory.

``tile/<L>/<N>[.p/<W>]`` holds W (or 256) hashes of 32 bytes; ``tile/entries/<N>[.p/<W>]`` holds
as many entries, each after its length in two bytes, big-endian. Everything here is derived from
the journal: files are written in place, without fsync, before the checkpoint that needs them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from portcullis.audit.files import read
from portcullis.audit.merkle import HASH_SIZE, TILE_WIDTH, Tile, fold
from portcullis.audit.pruned import leaves
from portcullis.core.errors import Problem

MAX_ENTRY: Final = 65535
ENTRIES: Final = "entries"
MAX_FILE: Final = TILE_WIDTH * (MAX_ENTRY + 2)
_CACHED_TILES: Final = 64


def pack(entries: Sequence[bytes]) -> bytes:
    """Entries, each after its length; none is longer than 65535 bytes."""
    return b"".join([part for e in entries for part in (len(e).to_bytes(2, "big"), e)])


def unpack(data: bytes) -> list[bytes]:
    """The entries of a bundle, or ValueError when the lengths do not add up."""
    entries: list[bytes] = []
    position, end = 0, len(data)
    while position < end:
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        entries.append(data[start:position])
    if position != end:
        msg = "the bundle ends within an entry"
        raise ValueError(msg)
    return entries


def tile_path(level: int | str, index: int, width: int = TILE_WIDTH) -> str:
    """The path of a tile below the log's directory (``level`` is a number or ``entries``)."""
    name = f"{index % 1000:03d}"
    while index >= 1000:  # noqa: PLR2004 - three digits per path element
        index //= 1000
        name = f"x{index % 1000:03d}/{name}"
    suffix = f".p/{width}" if width < TILE_WIDTH else ""
    return f"tile/{level}/{name}{suffix}"


class TileWriter:
    """Writes tiles and bundles; drops the partial ones once the full one exists."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, tile: Tile) -> None:
        """Write a hash tile, full or partial."""
        self._put(tile.level, tile.index, len(tile.hashes), b"".join(tile.hashes))

    def write_bundle(self, index: int, entries: Sequence[bytes]) -> None:
        """Write an entry bundle, full or partial."""
        self._put(ENTRIES, index, len(entries), pack(entries))

    def _put(self, level: int | str, index: int, width: int, data: bytes) -> None:
        path = self._directory / tile_path(level, index, width)
        if not _holds(path, data):  # what is there may be being read
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if width == TILE_WIDTH:
            shutil.rmtree(path.with_name(path.name + ".p"), ignore_errors=True)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False


class TileReader:
    """Reads what a tree of ``size`` entries consists of. Untrusted until verified.

    Every method raises Problem PC6005 when a file is missing or has not its proper shape.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.size = size
        self._tile = lru_cache(_CACHED_TILES)(self._read_tile)

    def hashes(self, level: int, index: int) -> tuple[bytes, ...]:
        """The hashes of a tile, as many as belong to this size."""
        return self._tile(level, index)

    def entries(self, index: int) -> list[bytes]:
        """The entries of a bundle, as many as belong to this size."""
        width = self._width(0, index)
        data, whole = self._bytes(ENTRIES, index, width)
        try:
            found = unpack(data)
        except ValueError:
            found = []
        if len(found) != whole:
            raise Problem("PC6005", f"{tile_path(ENTRIES, index, whole)}: not {whole} entries")
        return found[:width]

    def leaves(self, index: int, entries: Sequence[bytes]) -> list[bytes]:
        """The leaf hashes of a bundle's entries; of those that were pruned, the tile's."""
        return leaves(entries, lambda place: self.hashes(0, index)[place])

    def node(self, level: int, index: int) -> bytes:
        """The root of a complete subtree: what ``proofs`` asks for."""
        row, within = divmod(level, 8)
        first = index << within
        hashes = self.hashes(row, first // TILE_WIDTH)
        start = first % TILE_WIDTH
        return fold(hashes[start : start + (1 << within)])

    def _width(self, level: int, index: int) -> int:
        width = min(TILE_WIDTH, (self.size >> (8 * level)) - index * TILE_WIDTH)
        if width <= 0 or index < 0:
            raise Problem("PC6005", f"tile {level}/{index} is beyond the tree")
        return width

    def _read_tile(self, level: int, index: int) -> tuple[bytes, ...]:
        width = self._width(level, index)
        data, whole = self._bytes(level, index, width)
        if len(data) != whole * HASH_SIZE:
            raise Problem("PC6005", f"{tile_path(level, index, whole)}: not {whole} hashes")
        return tuple(data[i : i + HASH_SIZE] for i in range(0, width * HASH_SIZE, HASH_SIZE))

    def _bytes(self, level: int | str, index: int, width: int) -> tuple[bytes, int]:
        """A file and its width: the partial one, or the full one that has replaced it."""
        for whole in (width, TILE_WIDTH):
            try:
                return read(self.directory / tile_path(level, index, whole), MAX_FILE), whole
            except FileNotFoundError:
                continue
            except OSError as error:
                path = tile_path(level, index, whole)
                raise Problem("PC6005", f"{path}: {error.strerror}") from None
        raise Problem("PC6005", f"{tile_path(level, index, width)}: missing")
