"""Opaque tokens that only the identity they were given to can give back.

A server's ``requestState`` and event ids pass through the client's hands, unread: they may be
anything. So the gate hands out its own token in their place, enciphered and bound to whom it is
for (AES-SIV, RFC 5297). It keeps no state, and a token that was altered, or comes from anyone or
anywhere else, is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from portcullis.core.errors import Problem
from portcullis.wire.json import encode

_KEY: Final = 32


class Seal:
    """Seals values under a key of at least 32 random bytes, one per deployment."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) < _KEY:
            raise ValueError(len(key))
        self._cipher = AESSIV(hashlib.sha512(key).digest())

    def close(self, value: bytes, bound: Sequence[str]) -> str:
        """The token (URL-safe ASCII) for a value, not empty, that is bound to these strings."""
        sealed = self._cipher.encrypt(value, [encode(list(bound))])
        return base64.urlsafe_b64encode(sealed).decode("ascii")

    def open(self, token: str, bound: Sequence[str]) -> bytes:
        """The value of a token; Problem PC1037 unless it was closed with the same strings."""
        try:
            raw = base64.b64decode(token.encode("ascii"), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if base64.urlsafe_b64encode(raw).decode("ascii") != token:
            raise Problem("PC1037", "the token is malformed")
        try:
            return self._cipher.decrypt(raw, [encode(list(bound))])
        except (InvalidTag, ValueError):
            foreign = "the token was not given to this caller for this request"
            raise Problem("PC1037", foreign) from None


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate remembers, in the client's hands, of a result that asked for input.

    ``state`` is the server's own requestState, ``asked`` the method of each input request that
    the client was shown, ``digest`` that of all of them, ``expires_at`` seconds since the epoch.
    """

    state: str | None
    asked: dict[str, str]
    digest: str = ""
    expires_at: float


def close_round(seal: Seal, value: Round, bound: Sequence[str]) -> str:
    """The requestState to give to the client."""
    return seal.close(msgspec.json.encode(value), bound)


def open_round(seal: Seal, token: str, bound: Sequence[str], now: float) -> Round:
    """What a client's requestState stands for; Problem PC1037 when foreign or expired."""
    found = msgspec.json.decode(seal.open(token, bound), type=Round)
    if now >= found.expires_at:
        raise Problem("PC1037", "the requestState has expired")
    return found
