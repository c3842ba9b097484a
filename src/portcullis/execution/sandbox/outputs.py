"""Taking what a box left in its directory, which is as hostile as the box itself.

Every name is opened with openat2 below the directory: no link is followed, none leads out, no
other mount is crossed. Only plain files are read, and never more than the bounds say.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

import msgspec

from portcullis.execution.sandbox import kernel

_SAFE: Final = (
    kernel.RESOLVE_BENEATH
    | kernel.RESOLVE_NO_SYMLINKS
    | kernel.RESOLVE_NO_MAGICLINKS
    | kernel.RESOLVE_NO_XDEV
)
_CHUNK: Final = 2**20
_LOOKED_AT: Final = 1000
"""Entries of all directories together that are looked at."""


class Left(StrEnum):
    """Why a file was left where it is."""

    MISSING = "missing"
    LINK = "link"
    """A link, or behind one."""
    SPECIAL = "special"
    """No plain file."""
    LARGE = "large"
    """More bytes than are left of the bounds."""
    MANY = "many"
    NAME = "name"
    """No plain relative path of printable characters, or too deep."""
    FAILED = "failed"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much is taken: files, bytes of all of them together, directories deep."""

    files: int = 64
    total: int = 2**20
    depth: int = 4


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken by name, and what was left and why."""

    files: dict[str, bytes]
    left: dict[str, Left]


def take(directory: int, names: Sequence[str] | None, bounds: Bounds) -> Taken:
    """Read files below a directory's descriptor: those of ``names``, or whatever is there.

    It never raises for what it finds; ``left`` has at most as many names as it was asked for, or
    those that it looked at. A fault of ours is an OSError.
    """
    files: dict[str, bytes] = {}
    left: dict[str, Left] = {}
    room = bounds.total
    for name in _walk(directory, bounds.depth) if names is None else names:
        if len(files) >= bounds.files:
            left[_shown(name)] = Left.MANY
            continue
        if not _plain(name, bounds.depth):
            left[_shown(name)] = Left.NAME
            continue
        read = _read(directory, name, room)
        if isinstance(read, Left):
            left[name] = read
        else:
            files[name] = read
            room -= len(read)
    return Taken(files=files, left=left)


def _plain(name: str, depth: int) -> bool:
    path = PurePosixPath(name)
    whole = bool(name) and name.isprintable() and str(path) == name and name != "."
    return whole and not path.is_absolute() and ".." not in path.parts and len(path.parts) <= depth


def _shown(name: str) -> str:
    """A name that can be printed: what is not printable is a question mark."""
    return "".join(one if one.isprintable() else "?" for one in name)[:255]


def _open(directory: int, name: str, flags: int) -> int | Left:
    try:
        return kernel.open_beneath(directory, name, flags, _SAFE)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return Left.MISSING
        if error.errno in {errno.ELOOP, errno.EXDEV}:
            return Left.LINK
        return Left.SPECIAL if error.errno == errno.ENXIO else Left.FAILED


def _read(directory: int, name: str, room: int) -> bytes | Left:
    # Without O_NONBLOCK, opening a named pipe would wait for somebody to write.
    descriptor = _open(directory, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if isinstance(descriptor, Left):
        return descriptor
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return Left.SPECIAL
        if status.st_size > room:
            return Left.LARGE
        text = bytearray()
        # A file may be longer than its size said when it is read.
        while len(text) <= room and (part := os.read(descriptor, min(room + 1, _CHUNK))):
            text += part
    except OSError:
        return Left.FAILED
    finally:
        os.close(descriptor)
    return bytes(text) if len(text) <= room else Left.LARGE


def _walk(directory: int, depth: int) -> Iterator[str]:
    """The names of all that is there but directories, in order, a bounded number of them."""
    waiting, seen = [""], 0
    while waiting:
        place = waiting.pop()
        opened = _open(directory, place or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if isinstance(opened, Left):
            continue
        try:
            with os.scandir(opened) as entries:
                found = []
                for entry in entries:
                    seen += 1
                    if seen > _LOOKED_AT:
                        break
                    found.append((entry.name, entry.is_dir(follow_symlinks=False)))
        finally:
            os.close(opened)
        for name, nested in sorted(found):
            path = f"{place}/{name}" if place else name
            if nested and path.count("/") + 1 < depth:
                waiting.append(path)
            elif not nested:
                yield path
