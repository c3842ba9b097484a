r"""Fold text to the form that rules and phrases are written in, and cut it into windows.

The folded form is bytes: lower case UTF-8; of ASCII only ``0-9 a-z _ . < > | [ ] { } # : = / \ @
$ % & +`` are left. ``! ? ;`` become a full stop, apostrophes and backquotes go, everything else
becomes a space; more than two spaces become two, and full stops in a row one. There is a space at
both ends.

A window is a slice of about 80 words (two strides of 240 bytes; 160 characters of Chinese), so
that languages without spaces have windows too. Cuts fall on spaces where there is one nearby.
Folding and cutting look at nothing but the bytes around a place, so a text that comes in pieces
has the same windows as the whole.
"""

from __future__ import annotations

from typing import Final

import numpy as np

STRIDE: Final = 240
"""Bytes from one window's beginning to the next one's; a window is two strides."""

SLACK: Final = 48
"""How far after a multiple of the stride a space is looked for."""

_KEPT: Final = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz_.<>|[]{}#:=/\\@$%&+")
_STOPS: Final = frozenset(b"!?;")
_TABLE: Final = bytes(
    byte if byte >= 0x80 or byte in _KEPT else 0x2E if byte in _STOPS else 0x20  # noqa: PLR2004
    for byte in range(256)
)
_SPACE, _STOP = b" ."
_APOSTROPHES: Final = b"'`"
_SPACES: Final = (
    "\x85\N{NO-BREAK SPACE}\N{OGHAM SPACE MARK}\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"
    "\N{BRAILLE PATTERN BLANK}\N{IDEOGRAPHIC SPACE}\N{EN DASH}\N{EM DASH}"
    "“”„«»「」『』《》【】…、\uff0c\uff1a\uff08\uff09"
)
_FULL_STOPS: Final = "。\uff01\uff1f\uff1b\N{INVERTED QUESTION MARK}\N{INVERTED EXCLAMATION MARK}"
_GONE: Final = "\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}"
_ALIKE: Final = {
    **dict.fromkeys(_SPACES, " "),
    **dict.fromkeys(_FULL_STOPS, "."),
    **dict.fromkeys(_GONE, ""),
    # Which sigma str.lower makes depends on what stands beside it.
    "\N{GREEK SMALL LETTER FINAL SIGMA}": "\N{GREEK SMALL LETTER SIGMA}",
}


def fold(text: str) -> bytes:
    """The folded form of a whole text."""
    return squeezed(b" " + piece(text) + b" ")


def piece(text: str) -> bytes:
    """Fold a piece of a text: nothing is squeezed, and no ends are added."""
    text = text.lower()
    if not text.isascii():
        for mark, alike in _ALIKE.items():
            text = text.replace(mark, alike)
    return text.encode("utf-8", "replace").translate(_TABLE, _APOSTROPHES)


def squeezed(data: bytes) -> bytes:
    """Shorten runs of spaces and of full stops."""
    if b"   " not in data and b".." not in data:
        return data
    signs = np.frombuffer(data, dtype=np.uint8)
    blank, stop = signs == _SPACE, signs == _STOP
    gone = np.zeros(len(signs), dtype=np.bool_)
    gone[1:] = stop[1:] & stop[:-1]
    gone[2:] |= blank[2:] & blank[1:-1] & blank[:-2]
    return signs[~gone].tobytes()


def join(before: bytes, folded: bytes) -> bytes:
    """What a piece adds to the squeezed text before it, of which the last two bytes suffice."""
    last = before[-2:]
    return squeezed(last + folded)[len(last) :]


def cut(data: bytes, number: int) -> int:
    """Where window ``number`` begins; ``len(data)`` when the data ends before it."""
    at = number * STRIDE
    if at >= len(data):
        return len(data)
    space = data.find(b" ", at, at + SLACK)
    return space if space >= 0 else at


def windows(data: bytes) -> list[bytes]:
    """The windows of a whole folded text; each ends with the space at which another begins."""
    count = max(1, -(-len(data) // STRIDE) - 1)
    return [data[cut(data, number) : cut(data, number + 2) + 1] for number in range(count)]
