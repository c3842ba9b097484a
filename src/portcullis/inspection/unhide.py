"""Characters that a reader does not see, or sees as others: read as what a model makes of them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

import re2

from portcullis.inspection import homoglyphs

_ASCII: Final = bytes(range(128))
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
_FIRST: Final = re.compile(f"[{INVISIBLE}]")
_TAG_RUN: Final = re.compile("[\U000e0020-\U000e007e]+")
_SELECTOR_RUN: Final = re.compile(f"[{_SELECTORS}]{{4,}}")
_RUN: Final = re2.compile(rb"\pM{16}", _UTF8)
_LEFT_OVER: Final = re.compile(f"[{_MARKS}]+")
_DISTINCT: Final = 6
_MANY: Final = 1 << 14
_SEVERAL: Final = 1 << 14
_PAYLOAD: Final = 1 << 14
_VS_SUPPLEMENT: Final = 0xE0100
_VS: Final = 0xFE00


class Seen(NamedTuple):
    """``text`` as it reads; ``tricks`` by name; ``smuggled``: (how, text) spelt invisibly."""

    text: str
    tricks: frozenset[str]
    smuggled: tuple[tuple[str, str], ...]


def unhide(text: str) -> Seen:
    """Take out what is invisible, undo look-alikes, and spell out what was smuggled. Linear.

    ``text`` must be valid Unicode (no lone surrogates). ASCII returns at once.
    """
    if text.isascii():
        return Seen(text, frozenset(), ())
    foreign = text.encode().translate(None, _ASCII)
    kinds = {_NAMES[at] for at in _CHARACTERS.Match(foreign) or ()}
    tricks = kinds & {"bidi", "tags", "selectors"}
    smuggled: tuple[tuple[str, str], ...] = ()
    if "invisible" in kinds:
        if kinds & {"tags", "selectors"}:
            smuggled = tuple(_smuggled(foreign.decode()))
        if _SPLITS.search(text.encode()) is not None:
            tricks.add("zero-width")
        text = _visible(text)
    if "compatible" in kinds:
        tricks.add("compatibility")
    text = _normal(text, kinds, tricks)
    folded, cut = homoglyphs.fold(text)
    if folded != text:
        tricks.add("homoglyphs")
    if cut:
        tricks.add("flood")
    return Seen(folded, frozenset(tricks), smuggled)


def _normal(text: str, kinds: set[str], tricks: set[str]) -> str:
    """NFKC without marks that belong to no letter.

    Normalising is quadratic in a run of marks, and some characters become many: of a text that is
    made of such, only the ASCII stays, or only the beginning is normalised.
    """
    if "combining" in kinds and _flooded(text):
        tricks |= {"marks", "flood"}
        return text.encode("ascii", "ignore").decode()
    if "large" in kinds and len(text) > _SEVERAL:
        tricks.add("flood")
        text = unicodedata.normalize("NFKC", text[:_SEVERAL]) + text[_SEVERAL:]
    else:
        text = unicodedata.normalize("NFKC", text)
    if "combining" in kinds:
        text, found = _LEFT_OVER.subn("", text)
        tricks |= {"marks"} if found else set()
    return text


def _flooded(text: str) -> bool:
    """Marks in runs as no script has them, or very many."""
    raw = text.encode()
    many = raw.count(b"\xcc") + raw.count(b"\xcd")  # U+0300 to U+037F begin with CC or CD
    return many > _MANY or _RUN.search(raw) is not None


def _visible(text: str) -> str:
    """Without invisible characters: one pass for each of the first few, one for all others."""
    for _ in range(_DISTINCT):
        found = _FIRST.search(text)
        if found is None:
            return text
        text = text.replace(found.group(), "")
    return _INVISIBLE.sub("", text)


def _smuggled(foreign: str) -> list[tuple[str, str]]:
    """Texts written in tag characters (ASCII + U+E0000) or in variation selectors (a byte each)."""
    found = []
    tags = "".join(_TAG_RUN.findall(foreign))[:_PAYLOAD]
    if tags:
        found.append(("tags", tags.encode("utf-32-le")[::4].decode("ascii")))
    selectors = "".join(_SELECTOR_RUN.findall(foreign))[:_PAYLOAD]
    data = bytes(
        code - _VS_SUPPLEMENT + 16 if code >= _VS_SUPPLEMENT else code - _VS
        for code in map(ord, selectors)
    )
    spelt = data.decode("utf-8", "ignore")
    if spelt:
        found.append(("selectors", spelt))
    return found
