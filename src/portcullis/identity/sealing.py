"""Sealing what is at rest: AES-256-GCM under data keys that a key manager wraps.

A sealed value is ``SEALED``, the manager's version (one byte of length, ASCII), the wrapped data
key (two bytes of length), a random nonce of 12 bytes, and ciphertext with its tag. All before the
nonce, and the purpose, are authenticated.
"""

from __future__ import annotations

import os
from functools import lru_cache
from threading import Lock
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED, KeyManager

MESSAGES: Final = 2**30
"""Most messages under one data key: with random nonces, NIST SP 800-38D allows 2^32."""
CACHED_KEYS: Final = 256
"""How many unwrapped data keys are remembered; one per run of a gate is usual."""

_CONTEXT: Final = b"portcullis/data-key/1"
_NONCE: Final = 12


class _DataKey(NamedTuple):
    """A data key in use: what stands before the nonce of all that is sealed under it."""

    version: str
    header: bytes
    cipher: AESGCM


class Envelope:
    """The ``Sealer`` port, for any threads.

    ``manager`` wraps; ``former`` are managers whose keys still open what they wrapped. One data
    key serves for a process and a version of the manager, at most ``MESSAGES`` times.
    """

    def __init__(self, manager: KeyManager, *former: KeyManager) -> None:
        self._manager = manager
        self._former = former
        self._lock = Lock()
        self._key: _DataKey | None = None
        self._used = 0
        self._cipher = lru_cache(CACHED_KEYS)(self._unwrapped)

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        """Encrypt ``plaintext`` for one place and one use."""
        key, nonce = self._data_key(), os.urandom(_NONCE)
        return (
            key.header + nonce + key.cipher.encrypt(nonce, plaintext, _bound(key.header, purpose))
        )

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Decrypt, or raise Problem PC7010."""
        end = _parsed(sealed)[0]
        header, nonce = sealed[:end], sealed[end : end + _NONCE]
        cipher = self._cipher(header)
        try:
            return cipher.decrypt(nonce, sealed[end + _NONCE :], _bound(header, purpose))
        except (InvalidTag, ValueError):
            raise Problem("PC7010", f"{purpose} was altered, or moved from elsewhere") from None

    def current(self, sealed: bytes) -> bool:
        """Whether a sealed value is under the newest version. Raises Problem PC7010."""
        return _parsed(sealed)[1] == self._manager.version.encode()

    def _data_key(self) -> _DataKey:
        with self._lock:
            key = self._key
            if key is None or key.version != self._manager.version or self._used >= MESSAGES:
                key, self._used = self._made(), 0
                self._key = key
            self._used += 1
            return key

    def _made(self) -> _DataKey:
        data_key = AESGCM.generate_key(256)
        wrapped = self._manager.wrap(data_key, _CONTEXT)
        version = self._manager.version  # read now: wrapping may have found a newer one
        name = version.encode("ascii")
        header = b"".join((SEALED, len(name).to_bytes(1), name, len(wrapped).to_bytes(2), wrapped))
        return _DataKey(version, header, AESGCM(data_key))

    def _unwrapped(self, header: bytes) -> AESGCM:
        wrapped = _parsed(header)[2]
        for manager in (self._manager, *self._former):
            try:
                return AESGCM(manager.unwrap(wrapped, _CONTEXT))
            except Problem as problem:
                if problem.code != "PC7010":
                    raise
                refused = problem
        raise refused


def _parsed(sealed: bytes) -> tuple[int, bytes, bytes]:
    """Where the nonce begins, the version, the wrapped data key; or Problem PC7010."""
    at = len(SEALED)
    name = sealed[at + 1 : at + 1 + int.from_bytes(sealed[at : at + 1])]
    at += 1 + len(name)
    size = int.from_bytes(sealed[at : at + 2])
    end = at + 2 + size
    if not sealed.startswith(SEALED) or not name or not size or len(sealed) < end:
        raise Problem("PC7010", "this is not a sealed value")
    return end, name, sealed[at + 2 : end]


def _bound(header: bytes, purpose: str) -> bytes:
    return header + b"\0" + purpose.encode()
