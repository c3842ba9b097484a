"""Characters that a reader does not see, or sees as others: read as what a model makes of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import re2

from portcullis.inspection import homoglyphs
from portcullis.inspection.digits import DIGIT, DIGITS
from portcullis.inspection.letters import among, distinct, replaced

_ASCII: Final = bytes(range(128))
_NOT_ASCII: Final = bytes(range(128, 256))
_BIDI: Final = "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"
_ZERO: Final = (
    "\x80-\x84\x86-\x9f\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d"
    "\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
)
_SELECTORS: Final = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_TAGS: Final = "\U000e0000-\U000e007f"
INVISIBLE: Final = _ZERO + _BIDI + _SELECTORS + _TAGS
"""A character class: C1 but NEL, format characters, fillers, variation selectors, tags."""

_LEFT_OVER: Final = {
    chr(point): ""
    for first, last in (
        *((0x300, 0x36F), (0x483, 0x489), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF)),
        *((0x20D0, 0x20FF), (0xFE20, 0xFE2F)),
    )
    for point in range(first, last + 1)
}
"""Marks that no letter keeps."""
_LARGE: Final = "\u3200-\u33ff\ufb50-\ufdff\U0001f100-\U0001f265"  # normalise to several

_UTF8: Final = re2.Options()
_UTF8.max_mem = 64 << 20


def _set(*patterns: str) -> re2.Set:
    found = re2.Set.SearchSet(_UTF8)
    for pattern in patterns:
        found.Add(pattern.encode())
    found.Compile()
    return found


_NAMES: Final = (
    *("invisible", "bidi", "tags", "selectors", "combining", "compatible", "large", "digits"),
)
_CHARACTERS: Final = _set(
    f"[{INVISIBLE}]",
    "[\u202d\u202e\u2066-\u2068]",
    f"[{_TAGS}]",
    f"[{_SELECTORS}]",
    r"\pM",
    "[\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff\u24b6-\u24e9\u249c-\u24b5]",
    f"[{_LARGE}]",
    f"[{DIGIT}]",
)
_SELECTED: Final = re2.compile(b"[\\x{e0100}-\\x{e01ef}]|[\\x{fe00}-\\x{fe0f}]{4}", _UTF8)
_SPLITS: Final = re2.compile(f"[A-Za-z][{_ZERO}]+[A-Za-z]".encode(), _UTF8)
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]+")
_ALL_INVISIBLE: Final = re2.compile(f"[{INVISIBLE}]*".encode(), _UTF8)
_TAG_RUN: Final = re.compile("[\U000e0020-\U000e007e]+")
_SELECTOR_RUN: Final = re.compile(f"[{_SELECTORS}]{{4,}}")
_RUN: Final = re2.compile(rb"\pM{16}", _UTF8)
_MAYBE_RUN: Final = re2.compile(f"(?:\\pM[{INVISIBLE}]*){{16}}".encode(), _UTF8)
_ANY_LEFT: Final = re2.compile(f"[{''.join(_LEFT_OVER)}]".encode(), _UTF8)
_MANY: Final = 1 << 14
_SEVERAL: Final = 1 << 14
_SIDES: Final = b"a" * 128 + b"b" * 128
_JAMO: Final = frozenset(map(chr, (*range(0x1100, 0x1200), *range(0x16D63, 0x16D6B))))
"""Letters that are composed with the one before: of Korean, and of Kirat Rai (Unicode 16)."""
_KINDS: Final = 1 << 12
_CROWD: Final = 32
_RARE: Final = 32
_SIXTEEN: Final = bytes(16 if byte else 0 for byte in range(256))


class Seen(NamedTuple):
    """``text`` as it reads; ``tricks`` by name; ``smuggled``: (how, text) spelt invisibly."""

    text: str
    tricks: frozenset[str]
    smuggled: tuple[tuple[str, str], ...]


def unhide(text: str, raw: bytes) -> Seen:
    """Take out what is invisible, undo look-alikes, and spell out what was smuggled. Linear.

    Digits of other scripts become ASCII's; that is no trick, as they are how these are written.
    ``raw`` is the text in UTF-8. ASCII returns at once.
    """
    if text.isascii():
        return Seen(text, frozenset(), ())
    foreign = raw.translate(None, _ASCII)
    letters = distinct(foreign.decode())
    kinds = {_NAMES[at] for at in _CHARACTERS.Match(letters.encode()) or ()}
    if "selectors" in kinds and _SELECTED.search(foreign) is None:
        kinds.remove("selectors")
    tricks = kinds & {"bidi", "tags", "selectors"}
    smuggled: tuple[tuple[str, str], ...] = ()
    if "invisible" in kinds:
        if kinds & {"tags", "selectors"}:
            smuggled = tuple(_smuggled(foreign.decode(), kinds))
        if _SPLITS.search(raw) is not None:
            tricks.add("zero-width")
        gone = "".join(_INVISIBLE.findall(letters))
        letters = _INVISIBLE.sub("", letters)
        if not letters:
            return Seen(raw.translate(None, _NOT_ASCII).decode(), frozenset(tricks), smuggled)
        text = replaced(text, dict.fromkeys(gone, ""))
    if "compatible" in kinds:
        tricks.add("compatibility")
    text = _normal(text, foreign, letters, kinds, tricks)
    folded, cut = homoglyphs.fold(text)
    if folded != text:
        tricks.add("homoglyphs")
    if cut:
        tricks.add("flood")
    return Seen(folded, frozenset(tricks), smuggled)


def _normal(text: str, foreign: bytes, letters: str, kinds: set[str], tricks: set[str]) -> str:
    """NFKC without marks that belong to no letter, and with ASCII digits.

    Normalising is quadratic in a run of marks, and some characters become many: of a text that is
    made of such, only the ASCII stays, or only the beginning is normalised.
    """
    if "digits" in kinds:
        text = replaced(text, {digit: DIGITS[digit] for digit in DIGITS.keys() & set(letters)})
    marks = "combining" in kinds
    if marks and _flooded(text, foreign):
        tricks |= {"marks", "flood"}
        return text.encode("ascii", "ignore").decode()
    if "large" in kinds and len(text) > _SEVERAL:
        tricks.add("flood")
        text = unicodedata.normalize("NFKC", text[:_SEVERAL]) + text[_SEVERAL:]
    elif len(foreign) * _RARE < len(text):
        text = _composed(text)
    elif marks or not unicodedata.is_normalized("NFKC", text):
        text = compatible(text, letters)
    if marks and _ANY_LEFT.search(text.encode()) is not None:
        text = replaced(text, _LEFT_OVER)
        tricks.add("marks")
    return text


def compatible(text: str, letters: str) -> str:
    """NFKC letter by letter, but of what is joined to the one before.

    ``letters`` are those of the text that are not ASCII. No letter's form depends on what stands
    beside it if that begins with none that is composed with others (Unicode, annex 15).
    """
    if len(letters) > _KINDS:
        return unicodedata.normalize("NFKC", text)
    normal = unicodedata.normalize("NFKC", "\n".join(letters)).split("\n")
    forms = dict(zip(letters, normal, strict=True))
    joined = [letter for letter, new in forms.items() if joins(new[0])]
    if joined:
        together = _together(text, joined)
        if together is None:
            return unicodedata.normalize("NFKC", text)
        text = together
    return replaced(text, {letter: new for letter, new in forms.items() if letter != new})


def joins(letter: str) -> bool:
    """Whether normalising may join a letter to the one before it, or change their order."""
    return unicodedata.category(letter)[0] == "M" or letter in _JAMO


def _together(text: str, joined: Iterable[str]) -> str | None:
    """The text with each run of these letters normalised with the one before; None for many."""
    runs = np.diff(among(text, joined).view(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(runs > 0), np.flatnonzero(runs < 0)
    if len(starts) * _CROWD > len(text):
        return None
    known: dict[str, str] = {}
    pieces: list[str] = []
    at = 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        first = max(start - 1, 0)
        read = text[first:end]
        if read not in known:
            known[read] = unicodedata.normalize("NFKC", read)
        pieces += text[at:first], known[read]
        at = end
    return "".join((*pieces, text[at:]))


def _composed(text: str) -> str:
    """NFKC of a text that is nearly all ASCII: only of the rest, with the character before."""
    raw = text.encode()
    sides = raw.translate(_SIDES)
    known: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    at = end = 0
    while (start := sides.find(b"b", end)) >= 0:
        end = sides.find(b"a", start)
        end = end if end >= 0 else len(sides)
        start = max(start - 1, 0)
        read = raw[start:end]
        normal = known.get(read)
        if normal is None:
            normal = known[read] = unicodedata.normalize("NFKC", read.decode()).encode()
        if normal != read:
            pieces += raw[at:start], normal
            at = end
    return b"".join((*pieces, raw[at:])).decode() if pieces else text


def _flooded(text: str, foreign: bytes) -> bool:
    """Marks in runs as no script has them, or very many."""
    many = foreign.count(b"\xcc") + foreign.count(b"\xcd")  # U+0300 to U+037F begin so
    if many <= _MANY and _MAYBE_RUN.search(foreign) is None:
        return False
    raw = text.encode()
    many = raw.count(b"\xcc") + raw.count(b"\xcd")
    return many > _MANY or _RUN.search(raw) is not None


def _smuggled(foreign: str, kinds: set[str]) -> list[tuple[str, str]]:
    """Texts written in tag characters (ASCII + U+E0000) or in variation selectors (a byte each)."""
    found = []
    if "tags" in kinds:
        tags = "".join(_TAG_RUN.findall(foreign))
        found.append(("tags", tags.encode("utf-32-le")[::4].decode("ascii")))
    if "selectors" in kinds:
        selectors = "".join(_SELECTOR_RUN.findall(foreign)).encode("utf-32-le")
        low = int.from_bytes(selectors[::4])
        above = int.from_bytes(selectors[2::4].translate(_SIXTEEN))  # beyond the first sixteen
        spelt = (low + above).to_bytes(len(selectors) // 4).decode("utf-8", "ignore")
        found.append(("selectors", spelt))
    return [(how, said) for how, said in found if said]
