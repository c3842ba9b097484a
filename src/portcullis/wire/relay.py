"""A request on its way from one gateway to another: frames over one connection, sans I/O.

    frame   kind (1 byte), length of what follows (4 bytes, big endian), content
    there   HEAD, then BODY as it arrives, END: the request is complete
    back    START: the answer begins, then BODY, END: the answer is complete

A connection carries one request; either side gives it up by closing. HEAD is what the first
gateway has read and verified, authenticated (HMAC-SHA-256) under a key that only gateways have,
for one gateway and a short time. Nothing is parsed a second time: HTTP ends at the first gateway.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import msgspec

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.formats import FORMAT, read

MAX_HEAD: Final = 131_072
"""Most bytes of a HEAD or START; a listener takes heads of half of that."""
PIECE: Final = 65_536
"""Most bytes in one BODY."""
PREFIX: Final = 5
"""Bytes before the content of a frame."""
SECONDS: Final = 30.0
"""How long a HEAD is good for."""
_MAC: Final = 32
_PURPOSE: Final = b"portcullis/relay/1\0"


class Kind(IntEnum):
    """What a frame is."""

    HEAD = 1
    BODY = 2
    END = 3
    START = 4


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A request's head as a listener read it, and what was verified of its connection.

    ``to`` is the gateway it is for, ``by`` the one that sends it, ``at`` when (seconds since the
    epoch). ``tls`` says that it came under TLS; ``peer`` is whose certificate was verified there.
    ``scheme``, ``server`` and ``client`` are as in ASGI: what the client addressed, and from where.
    ``format`` is that of the gateway that made it (``core.formats``).
    """

    to: str
    by: str
    at: float
    method: str
    path: str
    raw_path: bytes
    query: bytes
    scheme: str
    server: tuple[str, int | None] | None
    client: tuple[str, int] | None
    headers: tuple[tuple[bytes, bytes], ...]
    tls: bool
    peer: Peer | None
    format: int = FORMAT


class _Said(msgspec.Struct, frozen=True):
    """What every version of a head begins to be read by."""

    format: int


class Start(msgspec.Struct, frozen=True):
    """The head of an answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]


_heads: Final = msgspec.msgpack.Decoder(Head)
_said: Final = msgspec.msgpack.Decoder(_Said)
_starts: Final = msgspec.msgpack.Decoder(Start)
_encode: Final = msgspec.msgpack.Encoder().encode


def frame(kind: Kind, content: bytes = b"") -> bytes:
    """One frame."""
    return bytes([kind]) + len(content).to_bytes(4) + content


def body(data: bytes) -> Iterator[bytes]:
    """Bytes of a body as frames; none for no bytes."""
    for at in range(0, len(data), PIECE):
        yield frame(Kind.BODY, data[at : at + PIECE])


def prefix(data: bytes) -> tuple[Kind, int]:
    """What the first ``PREFIX`` bytes of a frame announce: its kind, the length of its content.

    Raises Problem PC7051 for what cannot be.
    """
    try:
        kind, size = Kind(data[0]), int.from_bytes(data[1:PREFIX])
    except ValueError:
        raise _malformed() from None
    most = {Kind.BODY: PIECE, Kind.END: 0}.get(kind, MAX_HEAD)
    if size > most:
        raise _malformed()
    return kind, size


def close_head(head: Head, key: bytes) -> bytes:
    """The content of a HEAD. Raises Problem PC1011 for one that is too large."""
    content = _encode(head)
    if len(content) > MAX_HEAD - _MAC:
        raise Problem("PC1011", "the head is too large to be passed on")
    return _mac(key, content) + content


def open_head(content: bytes, key: bytes, *, to: str, now: float) -> Head:
    """The head of a request for the gateway ``to``.

    Raises Problem PC7051 for one that no gateway made, for here, just now, and PC7087 for one in a
    format that is not read here.
    """
    if not hmac.compare_digest(_mac(key, content[_MAC:]), content[:_MAC]):
        raise Problem("PC7051", "the request was not passed on by a gateway")
    try:
        read(_said.decode(content[_MAC:]).format, "a request that was passed on")
        head = _heads.decode(content[_MAC:])
    except msgspec.MsgspecError:
        raise _malformed() from None
    if head.to != to or not abs(now - head.at) <= SECONDS:
        raise Problem("PC7051", "the request was passed on to another gateway, or long ago")
    return head


def close_start(start: Start) -> bytes:
    """The content of a START."""
    return _encode(start)


def open_start(content: bytes) -> Start:
    """The head of an answer. Raises Problem PC7051 when it is none."""
    try:
        return _starts.decode(content)
    except msgspec.MsgspecError:
        raise _malformed() from None


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + content, "sha256")


def _malformed() -> Problem:
    return Problem("PC7051", "the gateways do not understand each other")
