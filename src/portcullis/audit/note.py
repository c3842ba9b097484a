"""Signed notes (C2SP signed-note): text signed with Ed25519, and keys written as one line.

A verifier key is ``name+hash+base64(kind || public key)``, a signer key is
``PRIVATE+KEY+name+hash+base64(kind || seed)``; ``hash`` is the key id in eight hex digits. The
kind is 0x01 here; ``cosignature`` has the one of witnesses. Whatever does not parse or verify is
a Problem PC6005.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import ClassVar, Final, NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portcullis.core.errors import Problem

_KEY_SIZE: Final = 32
_ID_SIZE: Final = 4
MAX_NOTE: Final = 1 << 20
MAX_SIGNATURES: Final = 100
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


def _parse_key(text: str, kind: bytes, what: str) -> tuple[str, bytes, str]:
    parts = text.strip().split("+", 2)
    if len(parts) == 3 and valid_name(parts[0]):  # noqa: PLR2004 - name, hash, key
        data = decode64(parts[2])
        if len(data) == _KEY_SIZE + 1 and data[:1] == kind:
            return parts[0], data[1:], parts[1]
    raise Problem("PC6005", f"not a {what} key of the signed-note format and kind 0x{kind.hex()}")


class Signature(NamedTuple):
    """One signature line: whose it says it is, and the bytes behind the key id."""

    name: str
    key_id: bytes
    bytes: bytes

    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"\u2014 {self.name} {encode64(self.key_id + self.bytes)}\n"


class Note(NamedTuple):
    """A note taken apart; nothing of it is verified."""

    text: str
    signatures: tuple[Signature, ...]

    def __bytes__(self) -> bytes:
        return f"{self.text}\n{''.join(each.line() for each in self.signatures)}".encode()


def parse_note(data: bytes) -> Note:
    """Take a note apart, or raise Problem PC6005."""
    try:
        whole = data.decode() if len(data) <= MAX_NOTE else ""
    except UnicodeDecodeError:
        whole = ""
    body, gap, tail = whole.rpartition("\n\n")
    if not gap or any(c < " " and c != "\n" for c in whole):
        raise Problem("PC6005", "not a signed note")
    return Note(body + "\n", parse_signatures(tail))


def parse_signatures(text: str) -> tuple[Signature, ...]:
    """Signature lines, each with its newline, as they end a note; or Problem PC6005."""
    lines = text.split("\n")
    if lines.pop() != "" or not 0 < len(lines) <= MAX_SIGNATURES:
        raise Problem("PC6005", "not a signed note")
    return tuple(map(_signature, lines))


def _signature(line: str) -> Signature:
    if not line.startswith("\u2014 "):
        raise Problem("PC6005", "not a signed note")
    name, _, field = line[2:].partition(" ")
    data = decode64(field)
    if len(data) <= _ID_SIZE or not valid_name(name):
        raise Problem("PC6005", "the note has a malformed signature line")
    return Signature(name, data[:_ID_SIZE], data[_ID_SIZE:])


class Verifier:
    """A public key and its name."""

    KIND: ClassVar[bytes] = b"\x01"
    """The signature type identifier byte of signed-note."""

    def __init__(self, name: str, public: bytes) -> None:
        self.name = name
        self.public = public
        self.id = sha256(name.encode() + b"\n" + self.KIND + public).digest()[:_ID_SIZE]
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a verifier key, or raise Problem PC6005."""
        name, public, stated = _parse_key(vkey, cls.KIND, "verifier")
        verifier = cls(name, public)
        if verifier.id.hex() != stated:
            raise Problem("PC6005", "the verifier key's hash is not that of its key")
        return verifier

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode64(self.KIND + self.public)}"

    def open(self, note: bytes) -> str:
        """Return the text of a note that this key signed, or raise Problem PC6005."""
        found = parse_note(note)
        ours = self.own(found)
        for signature in ours:
            self._verify(signature.bytes, found.text)
        if not ours:
            raise Problem("PC6005", "the note is not signed by the expected key")
        return found.text

    def own(self, note: Note) -> list[Signature]:
        """The signatures that say that they are of this key. They may be forged."""
        return [one for one in note.signatures if (one.name, one.key_id) == (self.name, self.id)]

    def _verify(self, signature: bytes, text: str) -> None:
        self._check(signature, text.encode())

    def _check(self, signature: bytes, message: bytes) -> None:
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise Problem("PC6005", "the note's signature does not verify") from None


class SigningKey:
    """A private key and its name. Its ``str`` is not the key; ``export`` is."""

    VERIFIER: ClassVar[type[Verifier]] = Verifier

    def __init__(self, name: str, seed: bytes) -> None:
        if not valid_name(name):
            raise Problem("PC7001", "a key's name must not be empty or hold spaces or '+'")
        self.name = name
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = self.VERIFIER(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, skey: str) -> Self:
        """Read a signer key, or raise Problem PC6005."""
        if not skey.startswith(_PRIVATE):
            raise Problem("PC6005", "not a signer key")
        name, seed, stated = _parse_key(skey.removeprefix(_PRIVATE), cls.VERIFIER.KIND, "signer")
        signer = cls(name, seed)
        if signer.verifier.id.hex() != stated:
            raise Problem("PC6005", "the signer key's hash is not that of its key")
        return signer

    def export(self) -> str:
        """The signer key as text: a secret."""
        key = encode64(self.VERIFIER.KIND + self._seed)
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{key}"

    def _signed(self, signature: bytes) -> Signature:
        return Signature(self.name, self.verifier.id, signature)


class Signer(SigningKey):
    """A key that signs notes."""

    def sign(self, text: str) -> bytes:
        """The signed note; ``text`` ends in a newline."""
        return bytes(Note(text, (self._signed(self._key.sign(text.encode())),)))
