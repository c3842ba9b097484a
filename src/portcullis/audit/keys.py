"""The log's keys: Ed25519 for its checkpoints, a master key for its commitments.

They are sealed, in files of mode 0600 in a directory of mode 0700, made on first use. Keys in the
clear, from before they were sealed, are sealed in their place.
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
from portcullis.core.ports import SEALED, Sealer

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


def load_keys(directory: Path, origin: str, *, create: bool, sealer: Sealer) -> LogKeys:
    """Read the keys, making them first when ``create`` is set and there are none.

    Raises Problem PC6002 when a key is missing, malformed, readable by others, or of another
    origin: a log that exists must never be continued under another key. Raises Problem PC7010
    when a key does not open.
    """
    files = _Files(directory, sealer)
    if create:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        files.create(SIGNER_FILE, Signer(origin, secrets.token_bytes(_SIZE)).export())
        files.create(MASTER_FILE, secrets.token_hex(_SIZE))
    try:
        signer = Signer.parse(files.read(SIGNER_FILE))
        master = bytes.fromhex(files.read(MASTER_FILE))
    except (Problem, ValueError) as error:
        if isinstance(error, Problem) and error.code == "PC7010":
            raise
        reason = error.detail if isinstance(error, Problem) else "not hexadecimal"
        raise Problem("PC6002", f"the log's keys cannot be used: {reason}") from None
    if signer.name != origin:
        raise Problem("PC6002", f"the log's key is of origin {signer.name}, not {origin}")
    if len(master) != _SIZE:
        raise Problem("PC6002", "the log's commitment key is not 32 bytes")
    files.reseal()
    return LogKeys(signer, SubjectKeys(master))


def reseal(directory: Path, sealer: Sealer) -> None:
    """Bring the keys in ``directory`` under the newest version of the key manager.

    Raises Problem PC6002 for a key that is missing or readable by others, PC6001 when one cannot
    be written, PC7010 when one does not open; what was not reached stays as it is.
    """
    try:
        _Files(directory, sealer).reseal()
    except OSError as error:
        raise Problem("PC6001", f"the log's keys cannot be written: {error.strerror}") from None


class _Files:
    """The key files of one log. Each is sealed for its folder's name and its own."""

    def __init__(self, directory: Path, sealer: Sealer) -> None:
        self._directory = directory
        self._sealer = sealer

    def create(self, name: str, text: str) -> None:
        """Make a key file durable; one that exists is kept."""
        if not (self._directory / name).exists():
            self._write(name, text)

    def read(self, name: str) -> str:
        """The key, without the white space around it."""
        content = self._content(name)
        if content.startswith(SEALED):
            content = self._sealer.open(content, self._purpose(name))
        try:
            return content.decode("ascii").strip()
        except UnicodeDecodeError:
            raise Problem("PC6002", f"{name} is not text") from None

    def reseal(self) -> None:
        """Seal what is in the clear or under an older version of the key manager."""
        for name in (SIGNER_FILE, MASTER_FILE):
            content = self._content(name)
            if not (content.startswith(SEALED) and self._sealer.current(content)):
                self._write(name, self.read(name))

    def _write(self, name: str, text: str) -> None:
        sealed = self._sealer.seal(f"{text}\n".encode(), self._purpose(name))
        replace(self._directory / name, sealed, mode=0o600)
        sync_directory(self._directory)

    def _content(self, name: str) -> bytes:
        try:
            with (self._directory / name).open("rb") as stream:
                if os.fstat(stream.fileno()).st_mode & 0o077:
                    raise Problem("PC6002", f"{name} is readable by others (chmod 600)")
                return stream.read()
        except OSError:
            raise Problem("PC6002", f"{name} is missing or unreadable") from None

    def _purpose(self, name: str) -> str:
        return f"file:{self._directory.name}/{name}"
