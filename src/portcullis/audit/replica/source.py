"""A log that lies elsewhere: in a folder, an object store, or behind a URL (C2SP tlog-tiles)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.files import read
from portcullis.audit.merkle import TILE_WIDTH, Tree
from portcullis.audit.note import MAX_NOTE, Verifier
from portcullis.audit.publish import CHECKPOINT
from portcullis.audit.tiles import ENTRIES, MAX_FILE, TileReader, pack, tile_path
from portcullis.audit.timestamps import MAX_FILE as MAX_STAMP
from portcullis.audit.timestamps import is_timestamp
from portcullis.audit.web import Web
from portcullis.core.errors import Problem

MAX_COPY: Final = 1 << 32
"""The most bytes of disk that a copy of a log may take, unless more is asked for."""
_BLOCK: Final = 4096
_OK: Final = 200
_MISSING: Final = frozenset({404, 410})

Fetch: TypeAlias = Callable[[str, int], bytes | None]
"""What is at a path of a log (``checkpoint``, ``tile/0/000``), in at most so many bytes; None for
nothing. It blocks, and raises Problem PC6021 when that cannot be told."""


class FetchedTiles(TileReader):
    """The tiles of a log that lies elsewhere. Raises Problem PC6021 too."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        super().__init__(Path(), size)
        self._fetch = fetch

    def _bytes(self, level: int | str, index: int, width: int) -> tuple[bytes, int]:
        for whole in dict.fromkeys((width, TILE_WIDTH)):
            data = self._fetch(tile_path(level, index, whole), MAX_FILE)
            if data is not None:
                return data, whole
        raise Problem("PC6005", f"{tile_path(level, index, width)}: missing")


def folder(directory: Path) -> Fetch:
    """A log in a folder, as its writer left it."""

    def fetch(path: str, limit: int) -> bytes | None:
        try:
            return read(directory / path, limit)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Problem("PC6021", f"{path}: {error.strerror}") from None

    return fetch


def website(url: str, web: Web) -> Fetch:
    """A log behind an http(s) URL: the prefix of C2SP tlog-tiles."""
    prefix = url.rstrip("/")

    def fetch(path: str, limit: int) -> bytes | None:
        answer = web.ask("GET", f"{prefix}/{path}", limit=limit)
        if answer.status == _OK:
            return answer.body
        if answer.status in _MISSING:
            return None
        raise Problem("PC6021", f"{path}: the server answered {answer.status}")

    return fetch


def fetch_checkpoint(fetch: Fetch, verifier: Verifier) -> tuple[Checkpoint, bytes]:
    """The checkpoint and its note, verified; Problem PC6005, or PC7005 when there is none."""
    note = fetch(CHECKPOINT, MAX_NOTE)
    if note is None:
        raise Problem("PC7005", "there is no audit log: it has no checkpoint")
    return open_checkpoint(note, verifier), note


def tree_at(reader: TileReader, size: int) -> Tree:
    """The tree over the first ``size`` entries, from the tiles of a tree that is no smaller."""

    def hashes(level: int, index: int) -> tuple[bytes, ...]:
        return reader.hashes(level, index)[: (size >> (8 * level)) % TILE_WIDTH]

    if size > reader.size:
        raise Problem("PC6005", f"the log has {reader.size} entries, not {size}")
    return Tree.resume(size, hashes)


def download(
    fetch: Fetch,
    verifier: Verifier,
    directory: Path,
    timestamps: Iterable[str] = (),
    *,
    most: int = MAX_COPY,
) -> None:
    """Bring the published part of a log into an empty folder, where ``verify`` can read it.

    Its checkpoint's signature is verified, nothing else. It ends with the first file that is
    missing or malformed, for the verification to find. ``timestamps`` are the paths of those to
    bring along. Raises Problem PC6023 before it has taken more than ``most`` bytes of the disk.
    """
    signed, note = fetch_checkpoint(fetch, verifier)
    copy = _Folder(directory, most)
    copy.keep(CHECKPOINT, note)
    for path in timestamps:
        if is_timestamp(path) and (data := fetch(path, MAX_STAMP)) is not None:
            copy.keep(path, data)
    reader = FetchedTiles(fetch, signed.size)
    try:
        for level, index, width in _files(signed.size):
            hashes = reader.hashes(level, index)
            copy.keep(tile_path(level, index, width), b"".join(hashes))
            if not level:
                entries = reader.entries(index)
                copy.keep(tile_path(ENTRIES, index, width), pack(entries))
    except Problem as problem:
        if problem.code != "PC6005":
            raise


def _files(size: int) -> Iterator[tuple[int, int, int]]:
    """Level, index and width of each hash tile of a tree."""
    level = 0
    while size:
        for index in range(-(-size // TILE_WIDTH)):
            yield level, index, min(TILE_WIDTH, size - index * TILE_WIDTH)
        level, size = level + 1, size // TILE_WIDTH


class _Folder:
    """Files that together take at most so many bytes of the disk, each in whole blocks."""

    def __init__(self, directory: Path, most: int) -> None:
        self._directory = directory
        self._most = most
        self._left = most

    def keep(self, path: str, data: bytes) -> None:
        """Write a file, or raise Problem PC6023."""
        self._left -= max(1, -(-len(data) // _BLOCK)) * _BLOCK
        if self._left < 0:
            raise Problem("PC6023", f"a copy of it takes more than {self._most} bytes")
        place = self._directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
