"""Content that only its recipients can read, by HPKE (RFC 9180).

The service has public keys; their private halves are with whoever reads.

Each event's content is encrypted with AES-256-GCM under a random key, and that key is sealed to
every recipient with HPKE in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, with
``portcullis/content/v1`` and the event's id as ``info``. Event and field are authenticated with
the content, so nothing can be moved. The envelope is MessagePack after ``MAGIC``.

Recipients are PEM public keys (SubjectPublicKeyInfo, RFC 8410), as many as there are in one file;
an identity is a PEM private key (PKCS #8): ``openssl genpkey -algorithm X25519`` makes one too. A
recipient is known by the first 16 hex digits of the SHA-256 of its raw public key.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from portcullis.core.errors import Problem

MAGIC: Final = b"\0PCE1"
"""What an envelope begins with; no JSON text does."""
MOST_RECIPIENTS: Final = 16
SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

_PURPOSE: Final = b"portcullis/content/v1\0"
_NONCE: Final = 12
_KEY: Final = 32
_MAX_FILE: Final = 65_536
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """One field, encrypted. ``keys`` has the content's key for each recipient by its name.

    ``commitment`` is what the event says of the field; it is repeated inside, with the value.
    """

    commitment: str
    keys: dict[str, bytes]
    nonce: bytes
    sealed: bytes


class _Inside(msgspec.Struct, frozen=True, array_like=True):
    commitment: str
    value: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_envelope: Final = msgspec.msgpack.Decoder(Envelope).decode
_inside: Final = msgspec.msgpack.Decoder(_Inside).decode


class Recipients:
    """To whom content is encrypted. Raises Problem PC6050 for none, or too many."""

    def __init__(self, keys: Iterable[X25519PublicKey]) -> None:
        self._keys = {name_of(key): key for key in keys}
        if not 0 < len(self._keys) <= MOST_RECIPIENTS:
            raise Problem("PC6050", f"expected 1 to {MOST_RECIPIENTS} public keys")

    @property
    def names(self) -> tuple[str, ...]:
        """Who can read what is sealed from now on."""
        return tuple(self._keys)

    def wrap(self, key: bytes, purpose: bytes) -> dict[str, bytes]:
        """A key for each recipient, by its name; ``purpose`` is HPKE's ``info``."""
        return {name: SUITE.encrypt(key, one, purpose) for name, one in self._keys.items()}

    def seal(
        self, event_id: str, fields: Mapping[str, bytes], commitments: Mapping[str, str]
    ) -> dict[str, bytes]:
        """The envelopes of an event's fields, in place of their values."""
        key = os.urandom(_KEY)
        keys = self.wrap(key, _info(event_id))
        cipher, sealed = AESGCM(key), {}
        for field, value in fields.items():
            committed, nonce = commitments.get(field, ""), os.urandom(_NONCE)
            inside = _encode(_Inside(committed, value))
            made = cipher.encrypt(nonce, inside, _place(event_id, field))
            sealed[field] = MAGIC + _encode(Envelope(committed, keys, nonce, made))
        return sealed


class Identity:
    """The private half of a recipient's key, for whoever reads; the service has none."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.name = name_of(key.public_key())

    def unwrap(self, keys: Mapping[str, bytes], purpose: bytes) -> bytes:
        """The key that was sealed to this one. Raises Problem PC6051 when none was."""
        wrapped = keys.get(self.name)
        try:
            if wrapped is not None:
                return SUITE.decrypt(wrapped, self._key, purpose)
        except (InvalidTag, ValueError):
            raise Problem("PC6052", "the key does not open: it was altered") from None
        names = ", ".join(keys)
        raise Problem("PC6051", f"it was sealed to {names}, and this key is {self.name}")

    def open(self, event_id: str, field: str, envelope: bytes) -> tuple[bytes, str]:
        """A field's value, and the commitment that stands with it.

        Raises Problem PC6051 when it was not sealed to this key, PC6052 for what was altered or
        is of another event or field.
        """
        read = parse(envelope)
        wrapped = read.keys.get(self.name)
        if wrapped is None:
            names = ", ".join(read.keys)
            raise Problem("PC6051", f"{field} was sealed to {names}, and this key is {self.name}")
        try:
            key = SUITE.decrypt(wrapped, self._key, _info(event_id))
            inside = AESGCM(key).decrypt(read.nonce, read.sealed, _place(event_id, field))
            found = _inside(inside)
        except (InvalidTag, ValueError, msgspec.MsgspecError):
            raise Problem(
                "PC6052", f"{field} does not open: altered, or of another event"
            ) from None
        return found.value, found.commitment


def parse(envelope: bytes) -> Envelope:
    """What an envelope says of itself, unverified. Raises Problem PC6052 for none."""
    try:
        if not envelope.startswith(MAGIC):
            raise ValueError
        return _envelope(envelope[len(MAGIC) :])
    except (ValueError, msgspec.MsgspecError):
        raise Problem("PC6052", "this is no sealed field") from None


def sealed(value: bytes) -> bool:
    """Whether a value of the content store is an envelope."""
    return value.startswith(MAGIC)


def name_of(key: X25519PublicKey) -> str:
    """What a recipient is called: 16 hex digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def load_recipients(path: Path) -> Recipients:
    """The public keys in a file. Raises Problem PC6050 for anything else in it.

    A private key there is refused by name: the service would then be able to read what it must not.
    """
    found = []
    for kind, pem in _pems(path, "PC6050"):
        if "PRIVATE" in kind:
            detail = f"{path.name} holds a private key: keep it where the service cannot read it"
            raise Problem("PC6050", detail)
        try:
            key = load_pem_public_key(pem)
        except ValueError:
            key = None
        if not isinstance(key, X25519PublicKey):
            raise Problem("PC6050", f"{path.name} holds a key that is no X25519 public key")
        found.append(key)
    return Recipients(found)


def load_identity(path: Path, passphrase: bytes | None = None) -> Identity:
    """The private key in a file that is its owner's alone. Raises Problem PC6051."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Problem("PC6051", f"{path.name}: {error.strerror}") from None
    if mode & 0o077:
        raise Problem("PC6051", f"{path.name} is readable by others (chmod 600)")
    pems = _pems(path, "PC6051")
    try:
        key = load_pem_private_key(pems[0][1], passphrase)
    except (TypeError, ValueError, IndexError):
        raise Problem("PC6051", f"{path.name} does not open as a private key") from None
    if not isinstance(key, X25519PrivateKey):
        raise Problem("PC6051", f"{path.name} is no X25519 private key")
    return Identity(key)


def make_identity(path: Path, passphrase: bytes | None = None) -> str:
    """Write a new private key, which only its owner can read; its public key in PEM.

    Raises Problem PC6051 when the file is there already or cannot be written.
    """
    key = X25519PrivateKey.generate()
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    try:
        with os.fdopen(
            os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb"
        ) as file:
            file.write(text)
    except OSError as error:
        raise Problem("PC6051", f"{path.name}: {error.strerror}") from None
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _pems(path: Path, code: str) -> list[tuple[str, bytes]]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE)
    except OSError as error:
        raise Problem(code, f"{path.name}: {error.strerror}") from None
    return [(found[1].decode(), found[0]) for found in _PEM.finditer(data)]


def _info(event_id: str) -> bytes:
    return _PURPOSE + event_id.encode()


def _place(event_id: str, field: str) -> bytes:
    return f"{event_id}\0{field}".encode()
