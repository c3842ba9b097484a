"""One text, and the texts that are hidden in it: what else a model could read there.

``layers`` undoes what keeps a rule from seeing what a model sees: characters that do not show or
pretend to be others, what steers a terminal, character references, markup that hides, and
encodings within encodings.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import re2

from portcullis.inspection import accents, decode
from portcullis.inspection.engines import ANYWHERE, compiled
from portcullis.inspection.hidden_html import hidden
from portcullis.inspection.runs import SHORTEST, present, runs
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
_CONTROLLED: Final = compiled(r"[\x00-\x08\x0e-\x1f\x7f]")
_SEQUENCE: Final = re.compile(r"(?:\x1b\[|\x9b)[0-9;:?]{0,32}(?:([hlmnpqrstuyJKPX])|[@-~])")
"""What steers a terminal (ECMA-48, section 5.4); the group is of what moves no text aside."""
_SEQUENCES: Final = 1 << 14
_MOST_PARTED: Final = 1 << 18
_COMMON: Final = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&nbsp;", " "), ("&amp;", "&"))
_REFERENCE: Final = re.compile(
    "&(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)"
)
_BYTES: Final = re2.Options()
_BYTES.encoding = re2.Options.Encoding.LATIN1
_BYTES.max_mem = 64 << 20

_KINDS: Final = {
    "percent": decode.PERCENT,
    "quoted-printable": decode.QUOTED,
    "escapes": decode.BACKSLASH,
    "markup": r"<[A-Za-z!/]|\]:[ \t]|!\[",
    "hex-pairs": decode.HEX_PAIRS,
    "spaced": decode.SPACED,
    "rot13": f"(?i){decode.ROT13}",
    "reversed": f"(?i){decode.REVERSED}",
}
_ANY: Final = compiled(
    "|".join(
        (
            r"[\x00-\x08\x0e-\x1f\x7f]",
            "&(?:#[0-9xX]|[A-Za-z][A-Za-z0-9]{1,31};)",
            f"[A-Za-z0-9+/_-]{{{SHORTEST}}}",
            *(f"(?:{kind})" for kind in _KINDS.values()),
        )
    )
)
"""Anything that there may be to undo in a text that is ASCII."""


def _compiled() -> re2.Set:
    found = re2.Set.SearchSet(_BYTES)
    for pattern in _KINDS.values():
        found.Add(pattern.encode())
    found.Compile()
    return found


_CANDIDATES: Final = _compiled()
_NAMES: Final = tuple(_KINDS)


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
    return Layers(text) if bare(text) else _Work(text).layers()


def bare(text: str) -> bool:
    """Whether there is nothing to undo in a text, nor in any of which it was put together.

    No expression in `_ANY` asks where a text begins or ends, so a whole has what its parts have.
    """
    if not text.isascii():
        return False
    raw = text.encode()
    return bool(_ANY(ANYWHERE, raw, 0, len(raw))[0][0] < 0)


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
        if not name.endswith(_JOINED):
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
        raw = text.encode()
        bare = raw.translate(None, _CONTROLS)
        if len(bare) != len(raw) or "\x9b" in text:
            text = self._uncontrolled(text, raw, inside)
            raw = text.encode()
        seen = unhide(text, raw)
        self._tricks |= seen.tricks
        for name, said in seen.smuggled:
            self._keep(f"{inside}{name}", said)
        return seen.text

    def _uncontrolled(self, text: str, raw: bytes, inside: str) -> str:
        """The text without control characters; they may also part words, which is a layer."""
        self._tricks.add("controls")
        if b"\x1b[" in raw or b"\x9b" in raw:
            text, count = _SEQUENCE.subn(_steered, text, count=_SEQUENCES)
            raw = text.encode()
            if count == _SEQUENCES:
                self._tricks.add(FLOOD)
        bare = raw.translate(None, _CONTROLS)
        if len(bare) != len(raw):
            parted = decode.near(_CONTROLLED, raw).translate(_PARTED)
            if len(parted) > _MOST_PARTED:
                self._tricks.add(FLOOD)
            self._keep(f"{inside}controls", parted[:_MOST_PARTED].decode("utf-8", "ignore"))
        return bare.decode()

    def _references(self, text: str) -> str:
        """Character references undone, also those within others (``&amp;lt;``)."""
        known: dict[str, str] = {}

        def referred(found: re.Match[str]) -> str:
            reference = found.group()
            if reference not in known:
                known[reference] = html.unescape(reference)
            return known[reference]

        for _ in range(DEPTH):
            read = text
            for name, character in _COMMON:
                read = read.replace(name, character)
            read, count = _REFERENCE.subn(referred, read, count=_REFERENCES)
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
            self._hidden(raw, outside)
        if not text.isascii():
            self._unaccented(text, raw, outside)
        for kind, (said, more) in self._undone(raw, kinds):
            if more:
                self._tricks.add(FLOOD)
            name = f"{outside}>{kind}" if outside else kind
            if said and (kept := self._keep(name, said)):
                yield name, kept

    def _undone(self, raw: bytes, kinds: set[str]) -> Iterator[tuple[str, decode.Read]]:
        if present(raw):
            base64, digits, more = runs(raw)
            yield "base64", (base64, more)
            yield "hex", (digits, more)
        for kind, undo in decode.UNDO.items():
            if kind in kinds:
                yield kind, undo(raw)

    def _hidden(self, raw: bytes, outside: str) -> None:
        found = hidden(raw)
        self._tricks |= found.kinds
        if found.more:
            self._tricks.add(FLOOD)
        for name, said in (("hidden", found.text), (_JOINED, found.joined)):
            if said:
                self._keep(f"{outside}>{name}" if outside else name, said)

    def _unaccented(self, text: str, raw: bytes, outside: str) -> None:
        """The text without accents, where that brings out more of the known English words."""
        said, more = accents.without(text, raw)
        if more:
            self._tricks.add(FLOOD)
        if said:
            self._keep(f"{outside}>accents" if outside else "accents", said)


_JOINED: Final = "joined"  # no longer than what it was made of: it does not count
_MARKUP: Final = frozenset({"hidden", _JOINED})  # hidden_html names its own


def _controlled(text: str) -> bool:
    raw = text.encode("utf-8", "replace")
    return len(raw.translate(None, _CONTROLS)) != len(raw) or "\x9b" in text


def _steered(found: re.Match[str]) -> str:
    return "" if found[1] else " "


def _valid(text: str) -> str:
    """The text with a question mark for each lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
