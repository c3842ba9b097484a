"""What an exporter keeps on disk: how far the peer has acknowledged, and what it refused.

Three files per exporter, in a folder per log: ``NAME.json`` is the cursor, replaced whole and
synced after each acknowledgement; ``NAME.dead.jsonl`` holds the events that could not be
delivered; ``NAME.lock`` is held by the one process that delivers.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.export.source import Position
from portcullis.audit.files import read, replace, sync_directory
from portcullis.core.errors import Problem

DEAD_BYTES: Final = 64 * 2**20
"""The most that a dead-letter file holds. When it is full the exporter stops where it is."""
_CURSOR: Final = 4096
_LOCK_SECONDS: Final = 1.0


class Cursor:
    """A position on disk, held by one process at a time. Closing it lets another have it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.json"
        self._lock = folder / f"{name}.lock"
        self._held = -1

    def load(self) -> Position:
        """Take the cursor; the position, or the beginning when there is none.

        Raises Problem PC6030 while another process has it, PC6031 for an unreadable one, OSError.
        """
        if self._held < 0:
            self._take()
        return self.seen()

    def seen(self) -> Position:
        """What it says, also while another process has it. Raises as ``load`` does."""
        try:
            return msgspec.json.decode(read(self._path, _CURSOR), type=Position)
        except FileNotFoundError:
            return Position()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            hint = "Remove it to deliver the log again from its beginning."
            raise Problem("PC6031", f"{self._path} cannot be read", hint=hint) from None

    def save(self, position: Position) -> None:
        """Keep a position; it survives a power cut then. Raises OSError."""
        replace(self._path, msgspec.json.encode(position), mode=0o600)
        sync_directory(self._path.parent)

    def close(self) -> None:
        """Let it go."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _take(self) -> None:
        held = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(held)
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                detail = f"another process delivers for {self._path.stem}"
                raise Problem("PC6030", detail) from None
            raise
        self._held = held


class DeadLetters:
    """Events that could not be delivered, one JSON object a line, on disk when ``add`` returns.

    ``{"index", "time", "reason", "event"}``; of an entry that is not one line of JSON stands
    ``entry`` (Base64) in place of ``event``. A last line that a crash cut short is taken away.
    """

    def __init__(self, folder: Path, name: str, *, limit: int = DEAD_BYTES) -> None:
        self._path = folder / f"{name}.dead.jsonl"
        self._limit = limit

    def add(self, index: int, entry: bytes, reason: str) -> None:
        """Keep an event. Problem PC6031 when the file is full, OSError when it is not written."""
        line = _line(index, entry, reason)
        file = appending(self._path)
        try:
            if whole_lines(file) + len(line) > self._limit:
                hint = "Look at what the peer refuses, and move the file away."
                raise Problem("PC6031", f"{self._path.name} is full", hint=hint)
            write_all(file, line)
            os.fsync(file)
        finally:
            os.close(file)
        sync_directory(self._path.parent)


def appending(path: Path) -> int:
    """A file to append to, which nobody else appends to or rotates until it is closed.

    Raises OSError, also when another has not let it go within a second. Blocks.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    until = time.monotonic() + _LOCK_SECONDS
    while time.monotonic() < until:
        with contextlib.ExitStack() as stack:
            file = os.open(path, flags, 0o600)
            stack.callback(os.close, file)
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file), path.lstat()):
                    stack.pop_all()
                    return file
        time.sleep(0.005)
    raise OSError(errno.EAGAIN, "another process writes to it")


def whole_lines(file: int) -> int:
    """Take away what stands behind a file's last line end; its size then. Raises OSError."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - 65536)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != os.fstat(file).st_size:
        os.ftruncate(file, end)
    return end


def write_all(file: int, data: bytes) -> None:
    """Write all of it. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _line(index: int, entry: bytes, reason: str) -> bytes:
    head = {"index": index, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    try:
        msgspec.json.decode(entry)
        whole = b"\n" not in entry
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        whole = False
    body = {"event": msgspec.Raw(entry)} if whole else {"entry": base64.b64encode(entry).decode()}
    return msgspec.json.encode({**head, "reason": reason, **body}) + b"\n"
