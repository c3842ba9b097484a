"""Cursors: where a page ended, opaque to whoever turns it."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, TypeVar

import msgspec

from portcullis.core.errors import Problem

_LONGEST: Final = 1024
_LEAST: Final = -(2**63)
_Key = TypeVar("_Key")


def cursor_of(*key: Any) -> str:
    """The cursor of the last entry of a page, by what pages are ordered by; URL-safe."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def key_of(cursor: str, decoder: msgspec.json.Decoder[_Key]) -> _Key | None:
    """What a cursor says, of the decoder's type; None for the beginning.

    Raises Problem PC3051 for a cursor that is none of ours.
    """
    if not cursor:
        return None
    try:
        if len(cursor) > _LONGEST:
            raise ValueError(len(cursor))
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = decoder.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        _stored(found)
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, ValueError):
        raise Problem("PC3051", "the cursor is not one of this list's") from None
    return found


def _stored(key: Any) -> None:
    """Raise ValueError for an integer of more than 64 bits: no database has one."""
    for one in key:
        if isinstance(one, int) and not _LEAST <= one < -_LEAST:
            raise ValueError(one)
