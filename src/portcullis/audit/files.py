"""Files that a crash leaves whole: the old content or the new one, never half of either."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read(path: Path, limit: int) -> bytes:
    """What is in a regular file of at most ``limit`` bytes; OSError for anything else.

    Whoever can write the folder can put a pipe there that never ends, or a file without a bottom.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise OSError(errno.EFBIG, "not a file of this log")
        with open(file, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(file)


def replace(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file durably but for its directory entry; see ``sync_directory``."""
    new = fresh(path)
    new.unlink(missing_ok=True)
    write_new(new, data, mode=mode)
    new.replace(path)


def fresh(path: Path) -> Path:
    """Where ``replace`` writes what becomes the file; a crash may leave it."""
    return path.with_name(path.name + ".new")


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file that was not there, durably but for its directory entry."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
