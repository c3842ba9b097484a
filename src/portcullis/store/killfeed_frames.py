"""The feed's frames on the wire: MessagePack behind an HMAC-SHA256.

Each direction has its own label, so that nothing a follower said can come back as an order, and so
has what it keeps for itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

import msgspec
import structlog

from portcullis.core.feed import Answered, LastSnapshot, Said
from portcullis.core.ports import Clock

log = structlog.get_logger(__name__)

_SIZE: Final = sha256().digest_size
_DOWN, _UP = b"portcullis/feed/v1/down\0", b"portcullis/feed/v1/up\0"
_KEPT: Final = b"portcullis/feed/v1/kept\0"

_Frame = TypeVar("_Frame")

_encode = msgspec.msgpack.Encoder().encode
_said: Callable[[bytes], Said] = msgspec.msgpack.Decoder(Said).decode
_answered: Callable[[bytes], Answered] = msgspec.msgpack.Decoder(Answered).decode
_last: Callable[[bytes], LastSnapshot] = msgspec.msgpack.Decoder(LastSnapshot).decode


class ForgedError(ValueError):
    """Bytes that nobody made who has the key, or that are no frame."""


class Frames:
    """Makes and reads frames under ``key``, which publisher and followers share."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def say(self, frame: Said) -> bytes:
        """A frame of the publisher's."""
        return self._sign(_DOWN, _encode(frame))

    def said(self, frame: bytes) -> Said:
        """What the publisher said. Raises ForgedError."""
        return self._read(_DOWN, frame, _said)

    def answer(self, frame: Answered) -> bytes:
        """A frame of a follower's."""
        return self._sign(_UP, _encode(frame))

    def answered(self, frame: bytes) -> Answered:
        """What a follower said. Raises ForgedError."""
        return self._read(_UP, frame, _answered)

    def keep(self, snapshot: LastSnapshot) -> bytes:
        """What a follower keeps for itself."""
        return self._sign(_KEPT, _encode(snapshot))

    def kept(self, content: bytes) -> LastSnapshot:
        """What a follower kept. Raises ForgedError."""
        return self._read(_KEPT, content, _last)

    def _sign(self, label: bytes, body: bytes) -> bytes:
        return hmac.digest(self._key, label + body, "sha256") + body

    def _read(self, label: bytes, frame: bytes, decode: Callable[[bytes], _Frame]) -> _Frame:
        code, body = frame[:_SIZE], frame[_SIZE:]
        if not hmac.compare_digest(code, hmac.digest(self._key, label + body, "sha256")):
            raise ForgedError
        try:
            return decode(body)
        except msgspec.MsgspecError:
            raise ForgedError from None


class Refusals:
    """Says that frames were refused, at most once a second: whoever sends them may send many."""

    def __init__(self, event: str, clock: Clock) -> None:
        self._event = event
        self._clock = clock
        self._again = 0.0
        self._unsaid = 0

    def add(self, **why: str | int) -> None:
        """One more."""
        now = self._clock.monotonic()
        if now < self._again:
            self._unsaid += 1
            return
        log.warning(self._event, **why, before=self._unsaid)
        self._again, self._unsaid = now + 1.0, 0
