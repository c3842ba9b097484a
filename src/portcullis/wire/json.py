"""Strict JSON: one reading of every document, ours and the upstream's alike.

Two parsers that read the same bytes differently are an attack (RFC 8259 section 4 leaves
duplicate keys open). So whatever another parser might read in its own way is refused, and what
is forwarded is our own encoding of what we read.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
from collections.abc import Collection
from typing import Any, Final, NoReturn

import msgspec

from portcullis.core.errors import Problem

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 100_000
"""Most values in one document: what one peer sends must not keep the others waiting."""
_LARGE: Final = 65_536
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()

encode = _encoder.encode
"""Canonical bytes of a JSON value: UTF-8, no white space, key order kept."""


def decode(body: bytes, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES) -> Any:
    """Parse one JSON document, refusing what parsers disagree about.

    Raises Problem PC1001 (not JSON), PC1002 (not UTF-8, or a lone surrogate), PC1003 (duplicate
    key), PC1004 (U+0000 in a string), PC1005 (deeper than ``max_depth``), PC1006 (an integer
    beyond 64 bits, or a float that is not finite), PC1015 (more than ``max_values``).
    """
    try:
        value = _parse(body)
        if body.count(b",") + body.count(b"[") + body.count(b"{") >= max_values:
            _count(value, max_values)  # some of those stand in strings: count the values
        same = _encoder.encode(value) == body
    except UnicodeDecodeError:
        raise Problem("PC1002", "the body is not valid UTF-8") from None
    except RecursionError:
        raise Problem("PC1005", f"deeper than {max_depth} levels") from None
    except msgspec.DecodeError as error:
        _explain(body, error)
    if not same:
        # The fast proof did not hold (white space, escapes, or a duplicate key): look closely.
        _refuse_duplicates(body)
    _walk(value, max_depth, b"\\u0000" in body)
    return value


def digest(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical bytes with sorted keys, for comparing arguments."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _explain(body: bytes, error: msgspec.DecodeError) -> NoReturn:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("PC1002", "the body is not valid UTF-8") from None
    text = str(error)
    if "surrogate" in text:
        raise Problem("PC1002", "a string holds half of a surrogate pair") from None
    if "out of range" in text:
        raise Problem("PC1006", "a number is out of range") from None
    position = text.rpartition("(")[2].rstrip(")") if "(byte" in text else "unknown position"
    raise Problem("PC1001", f"the body is not valid JSON ({position})") from None


def _parse(body: bytes) -> Any:
    """Decode; over a large body the collector would only look at what cannot be garbage yet."""
    if len(body) < _LARGE or not gc.isenabled():
        return _decoder.decode(body)
    gc.disable()
    try:
        return _decoder.decode(body)
    finally:
        gc.enable()


def _count(value: Any, limit: int) -> None:
    waiting, seen = [value], 1
    while waiting:
        held = waiting.pop()
        if type(held) is dict:
            held = held.values()
        if type(held) is not str and isinstance(held, Collection):
            seen += len(held)
            if seen > limit:
                raise Problem("PC1015", f"the document holds more than {limit} values")
            waiting += held


def _refuse_duplicates(body: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Problem("PC1003", "an object names a key twice")
        return found

    try:
        json.loads(body, object_pairs_hook=unique, parse_int=float)
    except RecursionError:
        raise Problem("PC1005", "nested too deeply") from None
    except (ValueError, UnicodeDecodeError):
        raise Problem("PC1001", "the body is not JSON to every parser") from None


def _walk(value: Any, depth: int, escapes: bool) -> None:  # noqa: C901, FBT001, PLR0912 - hot: one pass, no dispatch
    """Check depth and numbers everywhere, and strings for NUL when the bytes hold an escape."""
    kind = type(value)
    if kind is str:
        if escapes and "\0" in value:
            raise Problem("PC1004", "a string holds U+0000")
    elif kind is dict:
        if depth == 0:
            raise Problem("PC1005", "nested too deeply")
        if escapes and any("\0" in key for key in value):
            raise Problem("PC1004", "a key holds U+0000")
        for item in value.values():
            if type(item) is not str or escapes:
                _walk(item, depth - 1, escapes)
    elif kind is list:
        if depth == 0:
            raise Problem("PC1005", "nested too deeply")
        for item in value:
            if type(item) is not str or escapes:
                _walk(item, depth - 1, escapes)
    elif kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise Problem("PC1006", "an integer does not fit in 64 bits")
    elif kind is float and not math.isfinite(value):
        raise Problem("PC1006", "a number is not finite")
