"""The append journal: the truth from which tiles and checkpoints are derived.

A frame is one group commit: ``magic, payload length, first index, count, CRC-32`` and then the
entries, each after its length in two bytes. A frame is written only after the one before it is
on disk. So an incomplete last frame was never acknowledged and is cut; an invalid frame with a
valid one behind it is damage. JSON is UTF-8 and cannot hold the magic's 0xFF byte.

A segment is a file of exactly 65 536 entries, except the last, named by its first index.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from portcullis.audit.files import sync_directory
from portcullis.audit.tiles import pack, unpack
from portcullis.core.errors import Problem

SEGMENT: Final = 65536
_MAGIC: Final = b"\xffPJ1"
_HEAD: Final = struct.Struct(">4sIQII")
_CHECKED: Final = slice(4, 20)
"""The bytes of the header that its CRC covers, before the payload."""


class Frame(NamedTuple):
    """One group commit as read back; ``end`` is the offset behind it."""

    first: int
    entries: list[bytes]
    end: int


class Tail(NamedTuple):
    """Where the journal ends.

    ``segment`` is the first index of the last segment, ``offset`` the end of its last valid
    frame, ``size`` the number of entries in all.
    """

    segment: int
    offset: int
    size: int


def segment_path(directory: Path, first: int) -> Path:
    """The file of the segment that starts with entry ``first``."""
    return directory / f"{first:016d}.journal"


def encode_frame(first: int, entries: Sequence[bytes]) -> bytes:
    """One frame; no entry is longer than 65535 bytes."""
    payload = pack(entries)
    head = _HEAD.pack(_MAGIC, len(payload), first, len(entries), 0)
    crc = zlib.crc32(payload, zlib.crc32(head[_CHECKED]))
    return head[:-4] + crc.to_bytes(4, "big") + payload


def _decode(head: bytes, read: Callable[[int], bytes], offset: int) -> Frame | None:
    """The frame at ``offset``, or None when there is no valid one."""
    if len(head) < _HEAD.size:
        return None
    magic, length, first, count, crc = _HEAD.unpack(head)
    if magic != _MAGIC:
        return None
    payload = read(length)
    if len(payload) != length or zlib.crc32(payload, zlib.crc32(head[_CHECKED])) != crc:
        return None
    try:
        entries = unpack(payload)
    except ValueError:
        return None
    return Frame(first, entries, offset + _HEAD.size + length) if len(entries) == count else None


def frames(path: Path) -> Iterator[Frame]:
    """The valid frames from the start of a segment up to the first that is not."""
    with path.open("rb") as file:
        yield from _frames(file)


def _frames(file: BinaryIO) -> Iterator[Frame]:
    offset = 0
    while frame := _decode(file.read(_HEAD.size), file.read, offset):
        offset = frame.end
        yield frame


def segments(directory: Path) -> list[int]:
    """The first indices of all segments, or Problem PC6002 when one is missing."""
    names = sorted(path.name for path in directory.glob("*.journal"))
    expected = range(0, len(names) * SEGMENT, SEGMENT)
    if names != [segment_path(directory, first).name for first in expected]:
        raise Problem("PC6002", "a journal segment is missing")
    return list(expected)


def read(directory: Path, start: int = 0) -> Iterator[Frame]:
    """All frames from the segment that holds entry ``start``; a torn tail is left out.

    Reads only. Raises Problem PC6002 at damage before the end.
    """
    return read_segments(directory, start - start % SEGMENT)


def read_segments(directory: Path, start: int, end: int | None = None) -> Iterator[Frame]:
    """The same of the segments that begin from entry ``start`` on and before entry ``end``."""
    known = segments(directory)
    for first in known:
        if start <= first and (end is None or first < end):
            try:
                yield from _segment(directory, first, last=first == known[-1])
            except OSError as error:
                raise Problem("PC6002", f"the journal cannot be read: {error.strerror}") from None


def _segment(directory: Path, first: int, *, last: bool) -> Iterator[Frame]:
    path, size, end = segment_path(directory, first), first, 0
    if not path.is_file():
        raise Problem("PC6002", f"{path.name}: not a file")
    with path.open("rb") as file:  # one that is exchanged meanwhile stays as it was
        present = os.fstat(file.fileno()).st_size  # a live writer may add to it while we read
        for frame in _frames(file):
            if frame.first != size:
                raise Problem("PC6002", f"{path.name}: entry {size} is missing")
            size, end = size + len(frame.entries), frame.end
            yield frame
        if (not last and size != first + SEGMENT) or _frame_after(file, end, present):
            raise Problem("PC6002", f"{path.name}: damaged at byte {end} (entry {size})")


def rewrite(
    directory: Path, segment: int, end: int, change: Callable[[int, list[bytes]], list[bytes]]
) -> tuple[Path, int]:
    """Copy a segment's frames that begin before entry ``end``, with other entries.

    ``change`` is given each frame's first index and entries. Gives the copy, which is on disk and
    is to be put in its place with ``Journal.exchange``, and the offset of what was not copied.
    Raises Problem PC6002 at damage, OSError.
    """
    path = segment_path(directory, segment)
    fresh = path.with_name(path.name + ".new")
    size, offset = segment, 0
    try:
        with fresh.open("wb") as file:
            fresh.chmod(0o600)
            for frame in frames(path):
                if frame.first >= end:
                    break
                entries = change(frame.first, frame.entries)
                file.write(encode_frame(frame.first, entries))
                size, offset = frame.first + len(entries), frame.end
            file.flush()
            os.fsync(file.fileno())
        if size < min(end, segment + SEGMENT):
            raise Problem("PC6002", f"{path.name}: entry {size} is missing")
    except BaseException:
        fresh.unlink(missing_ok=True)  # a full disk is not made fuller
        raise
    return fresh, offset


def recover(directory: Path, start: int, visit: Callable[[list[bytes]], None]) -> Tail:
    """Read the journal from segment ``start`` on, passing each frame's entries to ``visit``.

    Changes nothing. Raises Problem PC6002 at damage before the end.
    """
    known = segments(directory)
    if start and start not in known:
        raise Problem("PC6002", f"the journal does not reach entry {start}")
    tail = Tail(known[-1] if known else 0, 0, start)
    for frame in read(directory, start):
        visit(frame.entries)
        tail = tail._replace(size=frame.first + len(frame.entries))
        if frame.first >= tail.segment:
            tail = tail._replace(offset=frame.end)
    return tail


def _frame_after(file: BinaryIO, offset: int, size: int) -> bool:
    """Whether a valid frame begins behind ``offset`` and ends within the first ``size`` bytes."""
    if size <= offset:
        return False
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        while (offset := data.find(_MAGIC, offset + 1)) >= 0:
            data.seek(offset)
            if _decode(data.read(_HEAD.size), data.read, offset):
                return True
    return False


class Journal:
    """The one writer. Opening it cuts what is behind ``tail`` and takes the lock.

    ``append`` returns when its entries would survive a power cut; after an OSError the journal
    is of no further use, and opening it again finds out what was kept.
    """

    def __init__(
        self, directory: Path, tail: Tail, *, sync: Callable[[int], None] = os.fdatasync
    ) -> None:
        self._directory = directory
        self._sync = sync
        self._segment = tail.segment
        self.size = tail.size
        self._file = self._open(tail.segment)
        os.ftruncate(self._file, tail.offset)
        os.lseek(self._file, tail.offset, os.SEEK_SET)
        sync(self._file)

    def append(self, entries: Sequence[bytes]) -> None:
        """Write the entries as one frame and wait for the disk."""
        while entries:
            room = self._segment + SEGMENT - self.size
            if not room:
                self._rotate()
                continue
            frame = memoryview(encode_frame(self.size, entries[:room]))
            while frame:
                frame = frame[os.write(self._file, frame) :]
            self._sync(self._file)
            self.size += min(room, len(entries))
            entries = entries[room:]

    def exchange(self, segment: int, fresh: Path, offset: int) -> None:
        """Put ``fresh`` in the place of a segment that it agrees with up to ``offset``.

        What was written behind that since goes along. After an OSError either is in place.
        """
        path = segment_path(self._directory, segment)
        file = os.open(fresh, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.lseek(file, 0, os.SEEK_END)
            with path.open("rb") as old:
                old.seek(offset)
                while part := old.read(2**20):
                    rest = memoryview(part)
                    while rest:
                        rest = rest[os.write(file, rest) :]
            os.fsync(file)
            fresh.replace(path)
            sync_directory(self._directory)
            if segment == self._segment:
                file, self._file = self._file, file
        finally:
            os.close(file)

    def close(self) -> None:
        """Close the file; the lock is not the journal's."""
        os.close(self._file)

    def _rotate(self) -> None:
        os.close(self._file)
        self._segment += SEGMENT
        self._file = self._open(self._segment)

    def _open(self, first: int) -> int:
        path = segment_path(self._directory, first)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        sync_directory(self._directory)
        return file


def lock(directory: Path) -> int:
    """Become the one writer: a file descriptor that holds the lock until it is closed.

    Raises Problem PC6003 when another process, or another log in this one, holds it.
    """
    file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            raise Problem("PC6003", f"another process is writing {directory}") from None
        raise
    return file
