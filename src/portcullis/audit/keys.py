"""The log's keys: Ed25519 for its checkpoints, a master key for its commitments.

They are files of mode 0600 in a directory of mode 0700, made on first use.
"""

from __future__ import annotations

import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portcullis.audit.files import replace, sync_directory
from portcullis.audit.note import Signer
from portcullis.core.errors import Problem

SIGNER_FILE: Final = "log.key"
MASTER_FILE: Final = "commitments.key"
_SIZE: Final = 32
_INFO: Final = b"portcullis/commitment/v1\0"
_CACHED_SUBJECTS: Final = 4096


class SubjectKeys:
    """One HMAC key per data subject: HKDF-SHA256 (RFC 5869) of the master key.

    The only place that knows where a subject's key comes from: keys that are stored one by one,
    so that each can be destroyed, replace this class and nothing else.
    """

    def __init__(self, master: bytes) -> None:
        self._master = master
        self._keyed = lru_cache(_CACHED_SUBJECTS)(self._derive)

    def commitment(self, subject: str, value: bytes) -> str:
        """``hmac-sha256:`` and 64 hex digits."""
        keyed = self._keyed(subject).copy()  # cheaper than keying anew, and keeps the GIL
        keyed.update(value)
        return "hmac-sha256:" + keyed.hexdigest()

    def _derive(self, subject: str) -> hmac.HMAC:
        info = _INFO + subject.encode()
        key = HKDF(algorithm=SHA256(), length=_SIZE, salt=None, info=info).derive(self._master)
        return hmac.new(key, digestmod="sha256")


class LogKeys(NamedTuple):
    """What the writer of a log holds and nobody else."""

    signer: Signer
    subjects: SubjectKeys


def load_keys(directory: Path, origin: str, *, create: bool) -> LogKeys:
    """Read the keys, making them first when ``create`` is set and there are none.

    Raises Problem PC6002 when a key is missing, malformed, readable by others, or of another
    origin: a log that exists must never be continued under another key.
    """
    if create:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        _create(directory / SIGNER_FILE, Signer(origin, secrets.token_bytes(_SIZE)).export())
        _create(directory / MASTER_FILE, secrets.token_hex(_SIZE))
    try:
        signer = Signer.parse(_read(directory / SIGNER_FILE))
        master = bytes.fromhex(_read(directory / MASTER_FILE))
    except (Problem, ValueError) as error:
        reason = error.detail if isinstance(error, Problem) else "not hexadecimal"
        raise Problem("PC6002", f"the log's keys cannot be used: {reason}") from None
    if signer.name != origin:
        raise Problem("PC6002", f"the log's key is of origin {signer.name}, not {origin}")
    if len(master) != _SIZE:
        raise Problem("PC6002", "the log's commitment key is not 32 bytes")
    return LogKeys(signer, SubjectKeys(master))


def _create(path: Path, text: str) -> None:
    """Make a key file durable; one that exists is kept."""
    if not path.exists():
        replace(path, f"{text}\n".encode(), mode=0o600)
        sync_directory(path.parent)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise Problem("PC6002", f"{path.name} is readable by others (chmod 600)")
            return stream.read().strip()
    except (OSError, UnicodeDecodeError):
        raise Problem("PC6002", f"{path.name} is missing or unreadable") from None
