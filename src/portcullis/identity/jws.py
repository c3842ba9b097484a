"""Compact JWS (RFC 7515 section 7.1), read in one way only, before any of it is believed."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.wire.json import decode

MAX_DEPTH: Final = 8


class Parts(msgspec.Struct, frozen=True):
    """An unverified JWS: its header and payload as JSON objects, and what was signed."""

    header: dict[str, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes


def split(token: str, *, code: str, most: int) -> Parts:
    """Take a compact JWS of at most ``most`` characters apart; nothing in it is verified.

    Raises Problem ``code`` for anything that two readers could read in two ways: white space,
    padding or other alphabets in the base64url, duplicate members, a ``crit`` or ``b64`` header.
    """
    if len(token) > most or not token.isascii():
        raise Problem(code, f"not a JWT of at most {most} characters")
    signed, _, signature = token.rpartition(".")
    header, _, payload = signed.partition(".")
    try:
        parts = Parts(_object(header), _object(payload), signed.encode(), decoded(signature))
    except (ValueError, Problem):
        raise Problem(code, "not a JWT in compact form") from None
    if "crit" in parts.header or "b64" in parts.header:
        raise Problem(code, "the header asks for an extension")
    return parts


def encoded(raw: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The inverse of ``encoded``: ValueError for what it would not have written."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if encoded(raw) != text:
        raise ValueError("not canonical")
    return raw


def _object(part: str) -> dict[str, Any]:
    value = decode(decoded(part), max_depth=MAX_DEPTH, max_values=256)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - malformed, not a fault of ours
    return value
