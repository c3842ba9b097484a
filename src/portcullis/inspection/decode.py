"""Texts inside a text that are written in another encoding: read them, within bounds.

Each decoder takes the UTF-8 bytes of a text and returns what it could read, one fragment a line,
or an empty string; and whether it left any of it unread. Every decoder is linear and looks at a
bounded number of fragments. Runs of base64 are in ``runs``.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from codecs import encode
from collections.abc import Callable
from typing import Final, TypeAlias

from portcullis.inspection.engines import ANYWHERE, Search, compiled
from portcullis.inspection.runs import printable

Read: TypeAlias = tuple[str, bool]
"""What could be read, and whether there was more."""

_CONTROLS: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f") + b"\x7f"
_NO_CONTROLS: Final = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_MOST_WORDS: Final = 512
_MOST_FRAGMENTS: Final = 1 << 11

TRIGGERS: Final = (
    "ignore",
    "previous",
    "instruction",
    "disregard",
    "system",
    "prompt",
    "override",
    "reveal",
    "secret",
    "password",
    "forget",
    "pretend",
    "assistant",
    "developer",
    "credential",
    "execute",
)
"""Words that show that a text was turned round or shifted, when they appear in that form."""

ROT13: Final = "|".join(encode(word, "rot13") for word in TRIGGERS)
REVERSED: Final = "|".join(word[::-1] for word in TRIGGERS)
_ROT13: Final = compiled(f"(?i){ROT13}")
_REVERSED: Final = compiled(f"(?i){REVERSED}")
_LETTERS: Final = 1 << 16
_ESCAPED: Final = 1 << 18
_MOST_ESCAPES: Final = 1 << 12
_MOST_PIECES: Final = 64
_AROUND: Final = 2000

PERCENT: Final = "%[0-9A-Fa-f]{2}"
_PERCENT: Final = compiled(rf"[^\s\"'<>]*{PERCENT}[^\s\"'<>]*")
QUOTED: Final = r"(?:=[0-9A-Fa-f]{2}){3}|[A-Za-z]=\r?\n[A-Za-z]"
_QUOTED: Final = compiled(QUOTED)
_PERCENT_SIGN: Final = compiled(PERCENT)
BACKSLASH: Final = r"\\x[0-9A-Fa-f]{2}|\\u\{?[0-9A-Fa-f]{4}"
_BACKSLASH: Final = compiled(r"\S*(?:\\x[0-9A-Fa-f]{2}|\\u\{?[0-9A-Fa-f]{4})(?:\S| [^ \s]*\\[xu])*")
_ESCAPES: Final = re.compile(
    r"((?:\\x[0-9A-Fa-f]{2})+)|((?:\\u[0-9A-Fa-f]{4})+)|\\u\{([0-9A-Fa-f]{1,5})\}"
)
HEX_PAIRS: Final = r"(?:(?:0[xX]|\\x)?[0-9A-Fa-f]{2}[ :,-]{1,2}){9}"
_HEX_PAIRS: Final = compiled("(?:(?:0[xX])?[0-9A-Fa-f]{2}[ :,-]{1,2}){9,}(?:0[xX])?[0-9A-Fa-f]{2}")
SPACED: Final = "(?:[A-Za-z][ ._*|-]){6}[A-Za-z]"
_SPACED: Final = compiled("(?:[A-Za-z][ ._*|-]{1,3}){6,}[A-Za-z]")
_SEPARATOR: Final = re.compile(r"(?<=[A-Za-z])[ ._*|-](?=[A-Za-z])")


def percent(raw: bytes) -> Read:
    """Words with %XX in them, decoded (RFC 3986; + is a space); where many have, all around."""
    words, more = every(_PERCENT, raw, _MOST_WORDS)
    joined = near(_PERCENT_SIGN, raw) if more else b"\n".join(words)
    # the quoted-printable decoder is the same thing with another sign, and written in C
    escaped = joined.replace(b"=", b"=3D").replace(b"+", b" ").replace(b"%", b"=")
    return a2b_qp(escaped).translate(_NO_CONTROLS).decode("utf-8", "replace"), False


def quoted_printable(raw: bytes) -> Read:
    """What is around quoted-printable, decoded (RFC 2045 section 6.7)."""
    return a2b_qp(near(_QUOTED, raw)).translate(_NO_CONTROLS).decode("utf-8", "replace"), False


def backslashes(raw: bytes) -> Read:
    r"""Words with \xXX and \uXXXX in them, decoded."""
    words, more = every(_BACKSLASH, raw, _MOST_WORDS)
    joined = b"\n".join(words)
    text = joined[:_ESCAPED].decode("utf-8", "replace")
    said, count = _ESCAPES.subn(_escape, text, count=_MOST_ESCAPES)
    return said, more or len(joined) > _ESCAPED or count == _MOST_ESCAPES


def _escape(found: re.Match[str]) -> str:
    small, large, braced = found.groups()
    if small:
        data = bytes.fromhex(small.replace("\\x", ""))
        return data.decode("utf-8", "replace")
    if large:
        return bytes.fromhex(large.replace("\\u", "")).decode("utf-16-be", "replace")
    return chr(int(braced, 16)).encode("utf-8", "replace").decode()


def hex_pairs(raw: bytes) -> Read:
    """Hex digits in pairs with something between them."""
    found, more = every(_HEX_PAIRS, raw, _MOST_FRAGMENTS)
    pairs = (one.replace(b"0x", b"").translate(None, b" :,-xX").decode() for one in found)
    read = (printable(bytes.fromhex(one)) for one in pairs if len(one) % 2 == 0)
    return "\n".join(one for one in read if one), more


def spaced(raw: bytes) -> Read:
    """Words that are written letter by letter; more than one separator parts words."""
    found, more = every(_SPACED, raw, _MOST_FRAGMENTS)
    joined = b"\n".join(found)
    return _SEPARATOR.sub("", joined[:_LETTERS].decode()), more or len(joined) > _LETTERS


def rot13(raw: bytes) -> Read:
    """What stands around words that are known ones in ROT13, shifted back."""
    said, more = around(_ROT13, raw)
    return encode(said, "rot13"), more


def backwards(raw: bytes) -> Read:
    """What stands around words that are known ones backwards, turned round."""
    said, more = around(_REVERSED, raw)
    return said[::-1], more


def around(search: Search, raw: bytes) -> Read:
    """The lines with a hit, at most _AROUND bytes to either side of it."""
    pieces: list[bytes] = []
    done = 0
    start, end = search(ANYWHERE, raw, 0, len(raw))[0]
    while start >= 0 and len(pieces) < _MOST_PIECES:
        begin = max(raw.rfind(b"\n", done, start) + 1, start - _AROUND, done)
        done = raw.find(b"\n", end, end + _AROUND)
        done = done if done >= 0 else min(len(raw), end + _AROUND)
        pieces.append(raw[begin:done])
        start, end = search(ANYWHERE, raw, done, len(raw))[0]
    return b"\n".join(pieces).decode("utf-8", "ignore"), start >= 0


def near(search: Search, raw: bytes) -> bytes:
    """The text around all matches, cut at spaces. What is farther from all of them is left out."""
    size = len(raw)
    pieces = []
    at = 0
    start, end = search(ANYWHERE, raw, 0, size)[0]
    while start >= 0:
        first, last = start, end
        while 0 <= start <= last + _AROUND:
            last = end
            start, end = search(ANYWHERE, raw, min(last + _AROUND // 2, size), size)[0]
        begin = max(first - _AROUND, at)
        begin = max(raw.find(b" ", begin, first), begin) if begin > at else begin
        at = last + _AROUND
        stop = raw.rfind(b" ", last, at) if at < size else at
        pieces.append(raw[begin : stop if stop >= 0 else at])
    return b"\n".join(pieces)


def every(search: Search, raw: bytes, most: int) -> tuple[list[bytes], bool]:
    """The first so many matches, and whether there are more."""
    found: list[bytes] = []
    start, end = search(ANYWHERE, raw, 0, len(raw))[0]
    while start >= 0 and len(found) < most:
        found.append(raw[start:end])
        start, end = search(ANYWHERE, raw, end, len(raw))[0]
    return found, start >= 0


UNDO: Final[dict[str, Callable[[bytes], Read]]] = {
    "escapes": backslashes,
    "percent": percent,
    "quoted-printable": quoted_printable,
    "hex-pairs": hex_pairs,
    "spaced": spaced,
    "rot13": rot13,
    "reversed": backwards,
}
