"""The beginning of a TLS connection: which host it is for (RFC 8446 section 4.1.2, RFC 6066).

Sans-IO. Bytes go in until the ClientHello is whole, whatever records it is cut into; of it, the
server name and whether another one is hidden (Encrypted Client Hello, RFC 9849) come out.
"""

from __future__ import annotations

from typing import Final

import msgspec

from portcullis.core.errors import Problem

MAX_BYTES: Final = 64 * 1024
"""Most bytes of records until the ClientHello is whole."""
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_RECORD: Final = 5
_MAX_RECORD: Final = 2**14
_HEAD: Final = 4
_SERVER_NAME: Final = 0
_HIDING: Final = frozenset({0xFE0D, 0xFE0A, 0xFE09, 0xFE08, 0xFFCE})
"""Encrypted Client Hello, its drafts, and Encrypted SNI before it."""
ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x70"
"""A fatal alert in the clear: unrecognized_name (RFC 6066 section 3)."""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """``name`` is the server name in lower case, or empty; ``hidden`` says that another may be."""

    name: str
    hidden: bool


class ClientHello:
    """Collects the bytes; ``data`` is all of them, as they came."""

    def __init__(self) -> None:
        self.data = b""

    def feed(self, piece: bytes) -> Hello | None:
        """Take more; the ClientHello when it is whole. Raises Problem PC5055 for what is none."""
        self.data += piece
        if len(self.data) > MAX_BYTES:
            raise _not_tls("the ClientHello is too long")
        message = _messages(self.data)
        if message[:1] not in {b"", bytes([_CLIENT_HELLO])}:
            raise _not_tls("it does not begin with a ClientHello")
        if len(message) < _HEAD:
            return None
        length = int.from_bytes(message[1:_HEAD])
        if length > MAX_BYTES:
            raise _not_tls("the ClientHello is too long")
        body = message[_HEAD : _HEAD + length]
        if len(body) < length:
            return None
        if len(message) > _HEAD + length:
            raise _not_tls("something follows the ClientHello in its record")
        return _hello(body)


def _not_tls(why: str) -> Problem:
    return Problem("PC5055", f"not a TLS handshake: {why}")


def _messages(data: bytes) -> bytes:
    """What the handshake records hold, as far as they have come."""
    found = bytearray()
    at = 0
    while at < len(data):
        head = data[at : at + _RECORD]
        if head[0] != _HANDSHAKE or (len(head) > 1 and head[1] != 3):  # noqa: PLR2004 - SSL 3.x
            raise _not_tls("a record of another kind")
        if len(head) < _RECORD:
            break
        length = int.from_bytes(head[3:5])
        if not 0 < length <= _MAX_RECORD:
            raise _not_tls("a record of no such length")
        found += data[at + _RECORD : at + _RECORD + length]
        at += _RECORD + length
        if _whole(found):
            break
    return bytes(found)


def _whole(message: bytearray) -> bool:
    """What follows in later records is no business of ours (early data)."""
    return len(message) >= _HEAD and len(message) >= _HEAD + int.from_bytes(message[1:_HEAD])


class _Reader:
    """Reads vectors whose length is checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise _not_tls("the ClientHello is cut short")
        self._at += count
        return piece

    def vector(self, size: int) -> bytes:
        return self.take(int.from_bytes(self.take(size)))

    @property
    def done(self) -> bool:
        return self._at == len(self._data)


def _hello(body: bytes) -> Hello:
    reader = _Reader(body)
    reader.take(2 + 32)
    reader.vector(1)
    reader.vector(2)
    reader.vector(1)
    name, hidden = "", False
    seen: set[int] = set()
    extensions = _Reader(b"" if reader.done else reader.vector(2))
    if not reader.done:
        raise _not_tls("something follows the extensions")
    while not extensions.done:
        kind = int.from_bytes(extensions.take(2))
        value = extensions.vector(2)
        if kind in seen:
            raise _not_tls("an extension occurs twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _server_name(value)
        hidden = hidden or kind in _HIDING
    return Hello(name=name, hidden=hidden)


def _server_name(value: bytes) -> str:
    outer = _Reader(value)
    names = _Reader(outer.vector(2))
    kind, name = names.take(1), names.vector(2)
    if kind != b"\0" or not names.done or not outer.done:
        raise _not_tls("not one server name")
    try:
        return name.decode("ascii").lower().removesuffix(".")
    except UnicodeDecodeError:
        raise _not_tls("the server name is not ASCII") from None
