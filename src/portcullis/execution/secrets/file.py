"""``file:PATH``: a secret in a file of its own, which nobody else may read; sealed or in clear."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED, Sealer
from portcullis.core.secret import Secret
from portcullis.execution.secrets.value import secret_of

MAX_SECRET = 64 * 1024
"""A secret file is at most this many bytes."""


def purpose(path: str) -> str:
    """What a secret in a file is sealed for: a file of that name, wherever it lies."""
    return f"secret:{Path(path).name}"


class _Known(NamedTuple):
    version: tuple[int, ...]
    secret: Secret


class FileSecrets:
    """A ``SecretSource`` over files; a changed file is read again, an unchanged one is not.

    Problem PC5007 when the file is missing, is not a regular file, is larger than
    ``MAX_SECRET``, is not UTF-8, or grants others any access or its group write access. One that
    is sealed (``portcullis secret seal``) is opened by ``sealer``; Problem PC7010 when it was
    altered, or sealed for a file of another name.
    """

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer
        self._read: dict[str, _Known] = {}

    def resolve(self, reference: str) -> Secret:
        """Return the file's content without surrounding white space."""
        try:
            known = self._read.get(reference)
            if known is not None and known.version == _version(os.stat(reference)):  # noqa: PTH116 - hot
                return known.secret
            return self._load(reference)
        except OSError as error:
            self._read.pop(reference, None)
            raise Problem("PC5007", f"cannot read file:{reference}: {error.strerror}") from None

    def forget(self, reference: str) -> None:
        """Hold a secret no longer."""
        self._read.pop(reference, None)

    def _load(self, reference: str) -> Secret:
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
        if content.startswith(SEALED):
            content = self._opened(reference, content)
        try:
            value = content.decode("utf-8")
        except UnicodeDecodeError:
            raise Problem("PC5007", f"file:{reference} is not valid UTF-8") from None
        secret = secret_of(f"file:{reference}", value)
        self._read[reference] = _Known(_version(found), secret)
        return secret

    def _opened(self, reference: str, content: bytes) -> bytes:
        if self._sealer is None:
            detail = f"file:{reference} is sealed, and this reads only what lies in clear"
            raise Problem("PC5007", detail)
        return self._sealer.open(content, purpose(reference))


def _version(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode)
