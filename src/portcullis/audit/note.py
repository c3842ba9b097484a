"""Signed notes (C2SP signed-note): text signed with Ed25519, and keys written as one line.

A verifier key is ``name+hash+base64(0x01 || public key)``, a signer key is
``PRIVATE+KEY+name+hash+base64(0x01 || seed)``; ``hash`` is the key id in eight hex digits.
Whatever does not parse or verify is a Problem PC6005.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portcullis.core.errors import Problem

_ED25519: Final = b"\x01"
_KEY_SIZE: Final = 32
_ID_SIZE: Final = 4
MAX_NOTE: Final = 1 << 20
_MAX_SIGNATURES: Final = 100
_PRIVATE: Final = "PRIVATE+KEY+"


def valid_name(name: str) -> bool:
    """Whether a key may be called so: not empty, no space, no plus, nothing unprintable."""
    return bool(name) and name.isprintable() and not any(c.isspace() or c == "+" for c in name)


def decode64(text: str) -> bytes:
    """Standard base64 (RFC 4648 section 4), in its one canonical spelling, or Problem PC6005."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise Problem("PC6005", "a field is not canonical base64")
    return data


def encode64(data: bytes) -> str:
    """Standard base64 (RFC 4648 section 4)."""
    return base64.b64encode(data).decode()


def _key_id(name: str, key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + key).digest()[:_ID_SIZE]


def _parse_key(text: str, kind: str) -> tuple[str, bytes, bytes]:
    parts = text.strip().split("+", 2)
    if len(parts) == 3 and valid_name(parts[0]):  # noqa: PLR2004 - name, hash, key
        data = decode64(parts[2])
        if len(data) == _KEY_SIZE + 1 and data[:1] == _ED25519:
            return parts[0], data[1:], parts[1].encode()
    raise Problem("PC6005", f"not an Ed25519 {kind} key of the signed-note format")


class Verifier:
    """A public key and its name."""

    def __init__(self, name: str, public: bytes) -> None:
        self.name = name
        self.id = _key_id(name, public)
        self._public = public
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read a verifier key, or raise Problem PC6005."""
        name, public, stated = _parse_key(vkey, "verifier")
        verifier = cls(name, public)
        if verifier.id.hex().encode() != stated:
            raise Problem("PC6005", "the verifier key's hash is not that of its key")
        return verifier

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode64(_ED25519 + self._public)}"

    def open(self, note: bytes) -> str:
        """Return the text of a note that this key signed, or raise Problem PC6005."""
        text, lines = _split(note)
        signed = False
        for line in lines:
            name, _, field = line.partition(" ")
            signature = decode64(field)
            if len(signature) <= _ID_SIZE or not valid_name(name):
                raise Problem("PC6005", "the note has a malformed signature line")
            if name == self.name and signature[:_ID_SIZE] == self.id:
                self._verify(signature[_ID_SIZE:], text)
                signed = True
        if not signed:
            raise Problem("PC6005", "the note is not signed by the expected key")
        return text

    def _verify(self, signature: bytes, text: str) -> None:
        try:
            self._key.verify(signature, text.encode())
        except InvalidSignature:
            raise Problem("PC6005", "the note's signature does not verify") from None


class Signer:
    """A private key and its name. Its ``str`` is not the key; ``export`` is."""

    def __init__(self, name: str, seed: bytes) -> None:
        if not valid_name(name):
            raise Problem("PC7001", "a log's origin must not be empty or hold spaces or '+'")
        self.name = name
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, skey: str) -> Signer:
        """Read a signer key, or raise Problem PC6005."""
        if not skey.startswith(_PRIVATE):
            raise Problem("PC6005", "not a signer key")
        name, seed, stated = _parse_key(skey.removeprefix(_PRIVATE), "signer")
        signer = cls(name, seed)
        if signer.verifier.id.hex().encode() != stated:
            raise Problem("PC6005", "the signer key's hash is not that of its key")
        return signer

    def export(self) -> str:
        """The signer key as text: a secret."""
        key = encode64(_ED25519 + self._seed)
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{key}"

    def sign(self, text: str) -> bytes:
        """The signed note; ``text`` ends in a newline."""
        signature = encode64(self.verifier.id + self._key.sign(text.encode()))
        return f"{text}\n\u2014 {self.name} {signature}\n".encode()


def _split(note: bytes) -> tuple[str, list[str]]:
    """The text and the signature lines (without their dash)."""
    try:
        whole = note.decode() if len(note) <= MAX_NOTE else ""
    except UnicodeDecodeError:
        whole = ""
    body, gap, tail = whole.rpartition("\n\n")
    lines = tail.split("\n")
    if (
        not gap
        or lines.pop() != ""
        or not 0 < len(lines) <= _MAX_SIGNATURES
        or any(c < " " and c != "\n" for c in whole)
        or not all(line.startswith("\u2014 ") for line in lines)
    ):
        raise Problem("PC6005", "not a signed note")
    return body + "\n", [line[2:] for line in lines]
