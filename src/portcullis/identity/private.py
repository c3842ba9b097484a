"""Files that are their owner's alone: read with suspicion, replaced whole and durably."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem

MAX_BYTES: Final = 2**20
"""The largest file that is read, as a rule."""


def read_private(path: Path, most: int = MAX_BYTES, *, owner: int | None = None) -> bytes | None:
    """The content of a file that nobody else can open, or None when there is none.

    Raises Problem PC7001 when it is open to others, is not ours nor the ``owner``'s, is not a
    regular file, has more than ``most`` bytes, or cannot be read.
    """
    try:
        # Judged by its descriptor: what was judged is what is read. A FIFO must not hang us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Problem("PC7001", f"{path} is not a file")
        refuse_open(path, found, owner)
        content = file.read(most + 1)
    if len(content) > most:
        raise Problem("PC7001", f"{path} exceeds {most} bytes")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Replace a file (0600) whole and durably; a crash leaves the old content or the new.

    Call it inside ``exclusive``. Raises Problem PC7001 when it cannot be written.
    """
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _unusable(path, error) from None


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other threads and processes out of this block for ``folder``, made (0700) if missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def refuse_open(path: Path, found: os.stat_result, owner: int | None = None) -> None:
    """Raise Problem PC7001 when others can open ``path``, or it is not ours nor the ``owner``'s."""
    if found.st_uid not in {os.geteuid(), owner}:
        raise Problem("PC7001", f"{path} belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        hint = f"Run `chmod go-rwx {path}`; if others may have read the key, replace it."
        raise Problem("PC7001", f"{path} is open to other users", hint=hint)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> Problem:
    return Problem("PC7001", f"cannot use {path}: {error.strerror}")
