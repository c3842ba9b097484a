"""Key-encryption keys in one file, oldest first: what the file and passphrase adapters share."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portcullis.core.errors import Problem
from portcullis.identity.private import exclusive, read_private, write_private

KEY_BYTES: Final = 32
MOVED: Final = "If `keys` in portcullis.yaml changed, run `portcullis keys rotate --from OLD.yaml`."
"""The hint for a key manager without keys where there are sealed data."""
_FINGERPRINT: Final = 8
_NONCE: Final = 12


class RingKeyManager(ABC):
    """A ``KeyManager`` over a file of keys; the last is in use.

    The file is made when there is none and ``create`` is set, else Problem PC7010: making new
    keys would not open what is sealed under the lost ones. Problem PC7001 when the file is open
    to others. What is wrapped begins with its key's fingerprint; for one that is not known the
    file is read again, since another process may have rotated.
    """

    kind: ClassVar[str]

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        content = read_private(path)
        if content is None:
            content = self._made(create=create)
        self._keys = self._decode(content)

    @property
    def version(self) -> str:
        """Its kind, its number and its fingerprint: unique among all managers."""
        return f"{self.kind}:{len(self._keys)}-{_fingerprint(self._keys[-1])[:4].hex()}"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a data key under the newest key."""
        newest, nonce = self._keys[-1], os.urandom(_NONCE)
        return _fingerprint(newest) + nonce + AESGCM(newest).encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key, or raise Problem PC7010."""
        name, nonce = wrapped[:_FINGERPRINT], wrapped[_FINGERPRINT : _FINGERPRINT + _NONCE]
        key = self._find(name)
        if key is None:
            self._keys = self._decode(self._read())
            key = self._find(name)
        try:
            if key is not None:
                return AESGCM(key).decrypt(nonce, wrapped[_FINGERPRINT + _NONCE :], context)
        except (InvalidTag, ValueError):
            pass  # refused below, like an unknown key
        raise Problem("PC7010", f"a data key was not wrapped under the keys of {self._path}")

    def rotate(self) -> str:
        """Add a key, durably before it is used; return its version."""
        with exclusive(self._path.parent):
            keys = (*self._decode(self._read()), os.urandom(KEY_BYTES))
            write_private(self._path, self._encode(keys))
            self._keys = keys
        return self.version

    def _made(self, *, create: bool) -> bytes:
        if not create:
            detail = f"{self._path} is missing, and something is sealed under its keys"
            raise Problem("PC7010", detail, hint=MOVED)
        with exclusive(self._path.parent):
            content = read_private(self._path)  # another process may have been first
            if content is None:
                content = self._encode((os.urandom(KEY_BYTES),))
                write_private(self._path, content)
        return content

    def _read(self) -> bytes:
        content = read_private(self._path)
        if content is None:
            raise Problem("PC7010", f"{self._path} is missing")
        return content

    def _find(self, fingerprint: bytes) -> bytes | None:
        return next((key for key in self._keys if _fingerprint(key) == fingerprint), None)

    @abstractmethod
    def _encode(self, keys: tuple[bytes, ...]) -> bytes:
        """The content of the file."""

    @abstractmethod
    def _decode(self, content: bytes) -> tuple[bytes, ...]:
        """The keys in the file, at least one, or Problem PC7010."""


def _fingerprint(key: bytes) -> bytes:
    """Names a random key of 256 bits and tells nothing about it."""
    return hashlib.sha256(b"portcullis/key-encryption-key\0" + key).digest()[:_FINGERPRINT]
