"""``file:PATH``: a secret in a file of its own, which nobody else may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from portcullis.core.errors import Problem

MAX_SECRET = 64 * 1024
"""A secret file is at most this many bytes."""


class FileSecrets:
    """A ``SecretSource`` over files; a changed file is read again, an unchanged one is not.

    Problem PC5007 when the file is missing, is not a regular file, is larger than
    ``MAX_SECRET``, is not UTF-8, or grants others any access or its group write access.
    """

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[int, ...], str]] = {}

    def resolve(self, reference: str) -> str:
        """Return the file's content without surrounding white space."""
        try:
            known = self._read.get(reference)
            if known is not None and known[0] == _version(os.stat(reference)):  # noqa: PTH116 - hot
                return known[1]
            return self._load(reference)
        except OSError as error:
            self._read.pop(reference, None)
            raise Problem("PC5007", f"cannot read file:{reference}: {error.strerror}") from None

    def _load(self, reference: str) -> str:
        self._read.pop(reference, None)
        # Opened first and judged by its descriptor, so that what was judged is what is read;
        # not blocking, so that a FIFO cannot hang the gate.
        descriptor = os.open(Path(reference), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Problem("PC5007", f"file:{reference} is not a regular file")
            if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                raise Problem(
                    "PC5007",
                    f"file:{reference} is open to other users",
                    hint=f"chmod 600 {reference}",
                )
            content = file.read(MAX_SECRET + 1)
        if len(content) > MAX_SECRET:
            raise Problem("PC5007", f"file:{reference} exceeds {MAX_SECRET} bytes")
        try:
            value = content.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise Problem("PC5007", f"file:{reference} is not valid UTF-8") from None
        self._read[reference] = (_version(found), value)
        return value


def _version(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode)
