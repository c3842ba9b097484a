"""Bodies of HTTP messages that pass through egress: as text where they are, else in base64."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any, Final

from portcullis.core.errors import Problem

_GZIP: Final = zlib.MAX_WBITS | 16
_WINDOWS: Final = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (zlib.MAX_WBITS, -15)}


def told(data: bytes, kind: str) -> dict[str, Any]:
    """The members of a payload that stand for a body; none for an empty one."""
    if not data:
        return {}
    try:
        return {"type": kind, "body": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"type": kind, "data": base64.b64encode(data).decode("ascii")}


def bytes_of(payload: Mapping[str, Any]) -> bytes:
    """The body that a payload stands for. Problem PC3021 for data that a mask has spoilt."""
    if "body" in payload:
        return str(payload["body"]).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(payload.get("data", ""), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("PC3021", "what was found stands in data that cannot be rewritten") from None


def plain(data: bytes, encoding: str, limit: int) -> bytes:
    """A body without its content coding (RFC 9110 section 8.4).

    Raises Problem PC5058 for a coding that is not known, and PC1007 for more than ``limit`` bytes.
    """
    names = [one.strip().lower() for one in encoding.split(",") if one.strip()]
    names = [one for one in names if one != "identity"]
    if not names or not data:
        return data
    windows = _WINDOWS.get(names[0]) if len(names) == 1 else None
    if windows is None:
        raise Problem("PC5058", "the body's content coding is not one that the gate reads")
    for window in windows:
        decoder = zlib.decompressobj(window)
        try:
            found = decoder.decompress(data, limit + 1)
        except zlib.error:
            continue
        if len(found) > limit or decoder.unconsumed_tail:
            raise Problem("PC1007", f"the body is larger than {limit} bytes")
        if not decoder.eof or decoder.unused_data:
            break
        return found
    raise Problem("PC5058", "the body is not of the coding that it says")
