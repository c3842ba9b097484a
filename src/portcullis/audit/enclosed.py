"""A file that only its recipients can read, of any length, written and read in one pass.

``MAGIC``, the length of what follows in four bytes, and in MessagePack the file's random key,
sealed to each recipient with HPKE (as in ``recipients``). Then chunks of ``CHUNK`` bytes, each
encrypted with AES-256-GCM and 16 bytes longer, the last one shorter or empty (the STREAM
construction: Hoang, Reyhanitabar, Rogaway, Vizár 2015). A chunk's nonce is its number in eleven
bytes and a byte that is 1 for the last; all that stands before the chunks is authenticated with
each. So no chunk can be changed, moved, left out or cut off.
"""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portcullis.audit.recipients import Identity, Recipients
from portcullis.core.errors import Problem

MAGIC: Final = b"\0PCB1"
CHUNK: Final = 65_536
_TAG: Final = 16
_PURPOSE: Final = b"portcullis/backup/v1\0"
_MOST_HEAD: Final = 16_384
_keys: Final = msgspec.msgpack.Decoder(dict[str, bytes]).decode


class Enclosing:
    """Writes what is given to it to ``target``; it is whole once it was closed."""

    def __init__(self, target: BinaryIO, recipients: Recipients) -> None:
        key = os.urandom(32)
        said = msgspec.msgpack.encode(recipients.wrap(key, _PURPOSE))
        head = MAGIC + len(said).to_bytes(4) + said
        target.write(head)
        self._target = target
        self._bound = hashlib.sha256(head).digest()
        self._cipher = AESGCM(key)
        self._number = 0
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        """Take some more."""
        self._waiting += data
        while len(self._waiting) > CHUNK:  # the last one is written when it is closed
            self._put(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(data)

    def close(self) -> None:
        """Write what is left. The target stays open."""
        self._put(bytes(self._waiting), last=True)

    def _put(self, chunk: bytes, *, last: bool) -> None:
        self._target.write(
            self._cipher.encrypt(_nonce(self._number, last=last), chunk, self._bound)
        )
        self._number += 1


class Enclosed:
    """Reads such a file. Every method raises Problem PC6033 for what was altered or cut off.

    Raises Problem PC6051 when it was not sealed to this identity.
    """

    def __init__(self, source: BinaryIO, identity: Identity) -> None:
        head = source.read(len(MAGIC) + 4)
        size = int.from_bytes(head[len(MAGIC) :])
        if not head.startswith(MAGIC) or size > _MOST_HEAD:
            raise Problem("PC6033", "this is no backup")
        said = source.read(size)
        try:
            keys = _keys(said)
        except msgspec.MsgspecError:
            raise Problem("PC6033", "this is no backup") from None
        self._source = source
        self._bound = hashlib.sha256(head + said).digest()
        self._cipher = AESGCM(identity.unwrap(keys, _PURPOSE))
        self._number = 0
        self._next = source.read(CHUNK + _TAG)
        self._open = bytearray()
        self._over = False

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        while len(self._open) < size and not self._over:
            self._open += self._chunk()
        found = bytes(self._open[:size])
        del self._open[:size]
        return found

    def _chunk(self) -> bytes:
        sealed, self._next = self._next, self._source.read(CHUNK + _TAG)
        self._over = not self._next
        try:
            nonce = _nonce(self._number, last=self._over)
            chunk = self._cipher.decrypt(nonce, sealed, self._bound)
        except (InvalidTag, ValueError):
            where = self._number * CHUNK
            raise Problem("PC6033", f"altered or cut off behind byte {where}") from None
        self._number += 1
        return chunk


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11) + (b"\1" if last else b"\0")
