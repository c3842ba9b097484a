"""The key-encryption keys in a file sealed with a passphrase (Argon2id, RFC 9106)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from portcullis.core.errors import Problem
from portcullis.identity.keymanager.ring import KEY_BYTES, RingKeyManager
from portcullis.identity.passwords import ALONE

_NONCE: Final = 12
_SALT: Final = 16


class Derivation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the passphrase becomes a key: the second choice of RFC 9106, section 4 (64 MiB).

    The bounds keep whoever can write the file from exhausting the machine.
    """

    salt: Annotated[bytes, msgspec.Meta(min_length=_SALT, max_length=64)]
    iterations: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    lanes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    memory_kib: Annotated[int, msgspec.Meta(ge=8 * 64, le=4 * 2**20)] = 64 * 1024


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: ``keys`` is a nonce and the keys, one after the other, under AES-256-GCM."""

    derivation: Derivation
    keys: bytes


class PassphraseKeyManager(RingKeyManager):
    """Keys that open with ``passphrase``; a wrong one is a Problem PC7010 and changes nothing."""

    kind: ClassVar[str] = "passphrase"

    def __init__(self, path: Path, passphrase: str, *, create: bool) -> None:
        self._passphrase = passphrase
        self._derived: tuple[Derivation, AESGCM] | None = None
        super().__init__(path, create=create)

    def _encode(self, keys: tuple[bytes, ...]) -> bytes:
        known = self._derived
        derivation = Derivation(salt=os.urandom(_SALT)) if known is None else known[0]
        nonce = os.urandom(_NONCE)
        sealed = self._cipher(derivation).encrypt(nonce, b"".join(keys), _bound(derivation))
        return msgspec.json.encode(_Document(derivation=derivation, keys=nonce + sealed))

    def _decode(self, content: bytes) -> tuple[bytes, ...]:
        try:
            document = msgspec.json.decode(content, type=_Document)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Problem("PC7010", f"{self._path} is not a file of sealed keys") from None
        derivation, nonce = document.derivation, document.keys[:_NONCE]
        try:
            keys = self._cipher(derivation).decrypt(
                nonce, document.keys[_NONCE:], _bound(derivation)
            )
        except (InvalidTag, ValueError):
            detail = f"{self._path} does not open with this passphrase"
            raise Problem("PC7010", detail) from None
        return tuple(keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES))

    def _cipher(self, derivation: Derivation) -> AESGCM:
        """Under the key that the passphrase gives; derived once, since that is slow on purpose."""
        if self._derived is None or self._derived[0] != derivation:
            kdf = Argon2id(
                salt=derivation.salt,
                length=KEY_BYTES,
                iterations=derivation.iterations,
                lanes=derivation.lanes,
                memory_cost=derivation.memory_kib,
            )
            with ALONE:
                key = kdf.derive(self._passphrase.encode())
            self._derived = derivation, AESGCM(key)
        return self._derived[1]


def _bound(derivation: Derivation) -> bytes:
    return b"portcullis/passphrase/1\0" + msgspec.json.encode(derivation)
