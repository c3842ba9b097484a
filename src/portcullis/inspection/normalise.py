"""One text, and the texts that are hidden in it: what else a model could read there.

``layers`` undoes what keeps a rule from seeing what a model sees: characters that do not show or
pretend to be others, what steers a terminal, character references, markup that hides, and
encodings within encodings.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

import re2

from portcullis.inspection import decode
from portcullis.inspection.hidden_html import hidden
from portcullis.inspection.unhide import unhide

DEPTH: Final = 3
"""How many encodings within each other are undone."""

BUDGET: Final = 1 << 20
"""Characters of decoded text, all layers together."""

FLOOD: Final = "flood"
"""The trick of hiding among so many that not all were looked at."""

_REFERENCES: Final = 1 << 12
_CONTROLS: Final = bytes((*range(9), *range(14, 32), 127))
_PARTED: Final = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_SEQUENCE: Final = re.compile(r"(?:\x1b\[|\x9b)[0-9;:?]{0,32}(?:([hlmnpqrstuyJKPX])|[@-~])")
"""What steers a terminal (ECMA-48, section 5.4); the group is of what moves no text aside."""
_SEQUENCES: Final = 1 << 14
_COMMON: Final = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&nbsp;", " "), ("&amp;", "&"))
_REFERENCE: Final = re.compile(
    "&(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)"
)
_BYTES: Final = re2.Options()
_BYTES.encoding = re2.Options.Encoding.LATIN1
_BYTES.max_mem = 64 << 20

_KINDS: Final = {
    "runs": f"[A-Za-z0-9+/_-]{{{decode.SHORTEST}}}",
    "percent": decode.PERCENT,
    "quoted-printable": decode.QUOTED,
    "backslash": decode.BACKSLASH,
    "controls": r"[\x00-\x08\x0e-\x1f\x7f]",
    "reference": "&(?:#[0-9xX]|[A-Za-z]{2,31};)",
    "markup": r"<[A-Za-z!]|\]:[ \t]|!\[",
    "hex-pairs": decode.HEX_PAIRS,
    "spaced": decode.SPACED,
    "rot13": f"(?i){decode.ROT13}",
    "reversed": f"(?i){decode.REVERSED}",
}


def _compiled() -> re2.Set:
    found = re2.Set.SearchSet(_BYTES)
    for pattern in _KINDS.values():
        found.Add(pattern.encode())
    found.Compile()
    return found


_CANDIDATES: Final = _compiled()
_NAMES: Final = tuple(_KINDS)
_TRIGGER: Final = re2.compile(rf"(?i)\b(?:{'|'.join(decode.TRIGGERS)})s?\b".encode(), _BYTES)


class Layers(NamedTuple):
    """``text`` is the text as it reads, the same object where there was nothing to undo.

    ``decoded`` are the texts that were found in it, ``names`` how each was hidden, outermost
    first (``base64``, ``hex>base64``, ``hidden``). ``tricks`` names everything that was undone.
    """

    text: str
    tricks: tuple[str, ...] = ()
    decoded: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def layers(text: str) -> Layers:
    """Undo what hides. Never fails, linear in the text, bounded by DEPTH and BUDGET."""
    raw = text.encode("utf-8", "surrogatepass")
    kinds = _CANDIDATES.Match(raw)
    if not kinds and text.isascii():
        return Layers(text)
    return _Work(text).layers()


def plain(text: str) -> str:
    """The ``text`` of the layers alone: without references and characters that do not show."""
    clean = text.isascii() and "&" not in text and not _controlled(text)
    return text if clean else _Work(text).plain()


class _Work:
    """The layers of one text while they are being found."""

    def __init__(self, text: str) -> None:
        self._tricks: set[str] = set()
        self._found: dict[str, str] = {}
        self._budget = BUDGET
        self._text = text

    def plain(self) -> str:
        return self._read(_valid(self._text), "")

    def layers(self) -> Layers:
        view = self.plain()
        level = [("", view)]
        for _ in range(DEPTH):
            level = [deeper for name, one in level for deeper in self._decoded(one, name)]
        found = {said: name for name, said in self._found.items() if said != view}
        view = self._text if view == self._text else view
        return Layers(view, tuple(sorted(self._tricks)), tuple(found), tuple(found.values()))

    def _keep(self, name: str, text: str) -> str:
        """Note a layer; what it could be read of it."""
        if len(text) > self._budget:
            self._tricks.add(FLOOD)
            text = text[: self._budget]
        self._budget -= len(text)
        said = self._read(text, f"{name}>") if text else ""
        if said:
            self._found[name] = said
            self._tricks |= {name.rpartition(">")[2]} - _MARKUP
        return said

    def _read(self, text: str, inside: str) -> str:
        """The text without references and without characters that do not show."""
        if "&" in text:
            text = self._references(text)
        if _controlled(text):
            text = self._uncontrolled(text, inside)
        seen = unhide(text)
        self._tricks |= seen.tricks
        for name, said in seen.smuggled:
            self._keep(f"{inside}{name}", said)
        return seen.text

    def _uncontrolled(self, text: str, inside: str) -> str:
        """The text without control characters; they may also part words, which is a layer."""
        self._tricks.add("controls")
        text, count = _SEQUENCE.subn(_steered, text, count=_SEQUENCES)
        if count == _SEQUENCES:
            self._tricks.add(FLOOD)
        raw = text.encode()
        bare = raw.translate(None, _CONTROLS)
        if len(bare) != len(raw):
            self._keep(f"{inside}controls", raw.translate(_PARTED).decode())
        return bare.decode()

    def _references(self, text: str) -> str:
        """Character references undone, also those within others (``&amp;lt;``)."""
        for _ in range(DEPTH):
            read = text
            for name, character in _COMMON:
                read = read.replace(name, character)
            read, count = _REFERENCE.subn(_referred, read, count=_REFERENCES)
            if count == _REFERENCES:
                self._tricks.add(FLOOD)
            if read == text:
                break
            self._tricks.add("references")
            text = read
        return text

    def _decoded(self, text: str, outside: str) -> Iterator[tuple[str, str]]:
        """The layers right below this one, which may hold further ones."""
        raw = text.encode()
        kinds = {_NAMES[at] for at in _CANDIDATES.Match(raw) or ()}
        if "markup" in kinds:
            self._hidden(text, raw, outside)
        if not text.isascii():
            self._accents(text, raw, outside)
        for kind, said in self._undone(raw, kinds):
            name = f"{outside}>{kind}" if outside else kind
            if said and (kept := self._keep(name, said)):
                yield name, kept

    def _undone(self, raw: bytes, kinds: set[str]) -> Iterator[tuple[str, str]]:
        if "runs" in kinds:
            base64, plain, more = decode.runs(raw)
            self._tricks |= {FLOOD} if more else set()
            yield "base64", base64
            yield "hex", plain
        if "backslash" in kinds:
            said, more = decode.backslashes(raw)
            self._tricks |= {FLOOD} if more else set()
            yield "escapes", said
        for kind, undo in _UNDO.items():
            if kind in kinds:
                yield kind, undo(raw)

    def _hidden(self, text: str, raw: bytes, outside: str) -> None:
        found = hidden(text, raw)
        self._tricks |= found.kinds
        for name, said in (("hidden", found.text), ("joined", found.joined)):
            if said:
                self._keep(f"{outside}>{name}" if outside else name, said)

    def _accents(self, text: str, raw: bytes, outside: str) -> None:
        """The text without accents, where that brings out more of the known English words."""
        plain = unicodedata.normalize("NFKD", text[:_ACCENTED]).encode("ascii", "ignore")
        some = _some(plain)
        if some and len(some) > len(_some(raw[: len(plain)])):
            self._keep(f"{outside}>accents" if outside else "accents", plain.decode("ascii"))


_UNDO: Final = {
    "percent": decode.percent,
    "quoted-printable": decode.quoted_printable,
    "hex-pairs": decode.hex_pairs,
    "spaced": decode.spaced,
    "rot13": decode.rot13,
    "reversed": decode.backwards,
}
_MARKUP: Final = frozenset({"hidden", "joined"})  # hidden_html names its own
_ACCENTED: Final = 1 << 18


def _controlled(text: str) -> bool:
    raw = text.encode("utf-8", "replace")
    return len(raw.translate(None, _CONTROLS)) != len(raw) or "\x9b" in text


def _steered(found: re.Match[str]) -> str:
    return "" if found[1] else " "


def _referred(found: re.Match[str]) -> str:
    return html.unescape(found.group())


def _some(raw: bytes) -> frozenset[bytes]:
    """Which of the known words stand in it, as far as the first few show."""
    found = _TRIGGER.finditer(raw)
    return frozenset(one.group().lower() for one, _ in zip(found, range(_FEW), strict=False))


_FEW: Final = 64


def _valid(text: str) -> str:
    """The text with a question mark for each lone surrogate."""
    return text.encode("utf-8", "replace").decode()
