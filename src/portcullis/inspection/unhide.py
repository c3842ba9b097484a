"""Characters that a reader does not see, or sees as others: read as what a model makes of them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

import re2

from portcullis.inspection import homoglyphs

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

_MARKS: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_LARGE: Final = "\u3200-\u33ff\ufb50-\ufdff\U0001f100-\U0001f265"  # normalise to several

_UTF8: Final = re2.Options()
_UTF8.max_mem = 64 << 20


def _set(*patterns: str) -> re2.Set:
    found = re2.Set.SearchSet(_UTF8)
    for pattern in patterns:
        found.Add(pattern.encode())
    found.Compile()
    return found


_NAMES: Final = ("invisible", "bidi", "tags", "selectors", "combining", "compatible", "large")
_CHARACTERS: Final = _set(
    f"[{INVISIBLE}]",
    "[\u202d\u202e\u2066-\u2068]",
    f"[{_TAGS}]",
    "[\U000e0100-\U000e01ef]|[\ufe00-\ufe0f]{4}",
    r"\pM",
    "[\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff\u24b6-\u24e9\u249c-\u24b5]",
    f"[{_LARGE}]",
)
_SPLITS: Final = re2.compile(f"[A-Za-z][{_ZERO}]+[A-Za-z]".encode(), _UTF8)
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]+")
_ALL_INVISIBLE: Final = re2.compile(f"[{INVISIBLE}]*".encode(), _UTF8)
_FIRST: Final = re.compile(f"[{INVISIBLE}]")
_TAG_RUN: Final = re.compile("[\U000e0020-\U000e007e]+")
_SELECTOR_RUN: Final = re.compile(f"[{_SELECTORS}]{{4,}}")
_RUN: Final = re2.compile(rb"\pM{16}", _UTF8)
_MAYBE_RUN: Final = re2.compile(f"(?:\\pM[{INVISIBLE}]*){{16}}".encode(), _UTF8)
_LEFT_OVER: Final = re.compile(f"[{_MARKS}]+")
_ANY_LEFT: Final = re2.compile(f"[{_MARKS}]".encode(), _UTF8)
_DISTINCT: Final = 6
_MANY: Final = 1 << 14
_SEVERAL: Final = 1 << 14
_SIDES: Final = b"a" * 128 + b"b" * 128
_COMPOSING: Final = re2.compile(rb"\pM|[\x{1100}-\x{11ff}]", _UTF8)
"""What normalising joins to the character before."""
_CHANGED: Final = 12
_SAMPLE: Final = 4096
_RARE: Final = 32
_SIXTEEN: Final = bytes(16 if byte else 0 for byte in range(256))


class Seen(NamedTuple):
    """``text`` as it reads; ``tricks`` by name; ``smuggled``: (how, text) spelt invisibly."""

    text: str
    tricks: frozenset[str]
    smuggled: tuple[tuple[str, str], ...]


def unhide(text: str, raw: bytes) -> Seen:
    """Take out what is invisible, undo look-alikes, and spell out what was smuggled. Linear.

    ``raw`` is the text in UTF-8. ASCII returns at once.
    """
    if text.isascii():
        return Seen(text, frozenset(), ())
    foreign = raw.translate(None, _ASCII)
    kinds = {_NAMES[at] for at in _CHARACTERS.Match(foreign) or ()}
    tricks = kinds & {"bidi", "tags", "selectors"}
    smuggled: tuple[tuple[str, str], ...] = ()
    if "invisible" in kinds:
        if kinds & {"tags", "selectors"}:
            smuggled = tuple(_smuggled(foreign.decode(), kinds))
        if _SPLITS.search(raw) is not None:
            tricks.add("zero-width")
        if _ALL_INVISIBLE.fullmatch(foreign) is not None:
            return Seen(raw.translate(None, _NOT_ASCII).decode(), frozenset(tricks), smuggled)
        text = _visible(text, foreign.decode())
    if "compatible" in kinds:
        tricks.add("compatibility")
    text = _normal(text, foreign, kinds, tricks)
    folded, cut = homoglyphs.fold(text)
    if folded != text:
        tricks.add("homoglyphs")
    if cut:
        tricks.add("flood")
    return Seen(folded, frozenset(tricks), smuggled)


def _normal(text: str, foreign: bytes, kinds: set[str], tricks: set[str]) -> str:
    """NFKC without marks that belong to no letter.

    Normalising is quadratic in a run of marks, and some characters become many: of a text that is
    made of such, only the ASCII stays, or only the beginning is normalised.
    """
    marks = "combining" in kinds
    if marks and _flooded(text, foreign):
        tricks |= {"marks", "flood"}
        return text.encode("ascii", "ignore").decode()
    if "large" in kinds and len(text) > _SEVERAL:
        tricks.add("flood")
        text = unicodedata.normalize("NFKC", text[:_SEVERAL]) + text[_SEVERAL:]
    elif len(foreign) * _RARE < len(text):
        text = _composed(text)
    elif marks:
        text = unicodedata.normalize("NFKC", text)
    elif not unicodedata.is_normalized("NFKC", text):
        text = _each(text)
    if marks and _ANY_LEFT.search(text.encode()) is not None:
        text = _LEFT_OVER.sub("", text)
        tricks.add("marks")
    return text


def _each(text: str) -> str:
    """NFKC letter by letter, where few letters change and none has to do with the one before."""
    changes = _changes(text[:_SAMPLE])
    if len(text) > _SAMPLE and changes is not None:
        changes = _changes(text)
    if changes is None:
        return unicodedata.normalize("NFKC", text)
    for letter, new in changes.items():
        text = text.replace(letter, new)
    return text


def _changes(text: str) -> dict[str, str] | None:
    """What becomes of each letter that changes by itself; None for many or if it is not so."""
    letters = set(text.encode().translate(None, _ASCII).decode())
    joined = "\n".join(letters)
    normal = unicodedata.normalize("NFKC", joined)
    pairs = zip(letters, normal.split("\n"), strict=True)
    found = {letter: new for letter, new in pairs if letter != new}
    few = len(found) <= _CHANGED and _COMPOSING.search(normal.encode()) is None
    return found if few else None


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


def _visible(text: str, foreign: str) -> str:
    """Without invisible characters: one pass for each of the first few, one for all others.

    ``foreign`` is what of the text is not ASCII.
    """
    for _ in range(_DISTINCT):
        found = _FIRST.search(foreign)
        if found is None:
            return text
        foreign = foreign.replace(found.group(), "")
        text = text.replace(found.group(), "")
    return _INVISIBLE.sub("", text) if _FIRST.search(foreign) else text


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
