"""Text of an attacker's on a page: what a reader would not see is made visible, nothing is lost."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from markupsafe import Markup, escape

from portcullis.inspection.homoglyphs import FOLD
from portcullis.inspection.unhide import INVISIBLE

LONG: Final = 2000
"""From how many characters on a value is folded: it opens with a click."""
LONGEST: Final = 20_000
"""How many characters of one text a page shows at most."""
_SHORT: Final = 200
_TALL: Final = 40
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}\u2800]")
_WORD: Final = re.compile(r"[\w.@-]+")
_LOOKALIKE: Final = re.compile(f"[{''.join(map(re.escape, FOLD))}]")
_MIXED: Final = re.compile(f"[A-Za-z]{_LOOKALIKE.pattern}|{_LOOKALIKE.pattern}[A-Za-z]")
_KINDS: Final = {str: "text", bool: "yes or no", int: "number", float: "number", list: "list"}


@dataclass(slots=True)
class Budget:
    """What is left for one page: marks, characters, and characters of short plain texts.

    Those have their own, so that no argument makes the gate's words go. ``cut`` says that
    something of the page's is not shown.
    """

    marks: int = 2000
    characters: int = 150_000
    plain: int = 150_000
    cut: bool = False


def visible(text: str) -> str:
    """The text with every character that is not seen, or moves others, as ``⟨U+202E⟩``.

    So stand letters that pretend to be of another alphabet. Spaces, tabs and line feeds stay as
    they are. Of many in a row it says how many.
    """
    return "".join(f"⟨{_point(one, often)}⟩" if often else one for one, often in _runs(text))


def marked(text: str, budget: Budget) -> Markup:
    """The same as HTML, within the budget: such a character is a ``mark`` with its name.

    Where not all is shown it ends by saying how much is not.
    """
    if len(text) <= min(_SHORT, budget.plain) and text.isascii() and text.isprintable():
        budget.plain -= len(text)
        return escape(text)
    pieces: list[Markup] = []
    shown = 0
    most = min(LONGEST, budget.characters)
    for one, often in _runs(text[:most]):
        if often and not budget.marks:
            break
        budget.marks -= bool(often)
        pieces.append(_mark(one, often) if often else escape(one))
        shown += often or len(one)
    budget.characters -= shown
    if shown < len(text):
        budget.cut = True
        more = f"{len(text) - shown:,}".replace(",", " ")
        pieces.append(Markup('<mark class="odd">⟨{} more⟩</mark>').format(more))
    return Markup("".join(pieces))  # noqa: S704 - all pieces are escaped


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it is shown: ``kind`` in words, ``opening`` of it when it is ``folded``."""

    kind: str
    text: str
    opening: str
    folded: bool

    @classmethod
    def of(cls, value: Any) -> Value:
        """Any JSON value: texts as they are, everything else as indented JSON."""
        text = value if isinstance(value, str) else pretty(value)
        kind = "nothing" if value is None else _KINDS.get(type(value), "object")
        if isinstance(value, (list, dict)):
            kind = f"{kind} of {len(value)}"
        folded = len(text) > LONG or text.count("\n") >= _TALL
        if folded:
            kind = f"{kind}, {len(text)} characters"
        return cls(kind, text, " ".join(text[:80].split()), folded)


def pretty(value: Any) -> str:
    """Indented JSON in which letters of all languages stand as they are."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def plain(text: str) -> str:
    r"""A text in which what is not seen stands as ``\u202e``; line feeds are as they were."""
    return "\n".join(
        line
        if line.isprintable() and not _INVISIBLE.search(line)
        else "".join(json.dumps(one)[1:-1] if _odd(one) else one for one in line)
        for line in text.split("\n")
    )


def _runs(text: str) -> Iterator[tuple[str, int]]:
    """The text in pieces: what is plain with 0, what is not one by one with how often in a row."""
    for number, line in enumerate(text.split("\n")):
        if number:
            yield "\n", 0
        posing = _posing(line)
        if not posing and line.isprintable() and not _INVISIBLE.search(line):
            yield line, 0
            continue
        pairs = ((one, one if at in posing else _odd(one)) for at, one in enumerate(line))
        for odd, found in groupby(pairs, key=lambda pair: pair[1]):
            run = "".join(one for one, _ in found)
            yield (odd, len(run)) if odd else (run, 0)


def _posing(line: str) -> frozenset[int]:
    """Where letters stand that look like ASCII ones, in words that mix them with those."""
    if line.isascii() or _LOOKALIKE.search(line) is None:
        return frozenset()
    return frozenset(
        one.start() + word.start()
        for word in _WORD.finditer(line)
        if _mixed(word[0])
        for one in _LOOKALIKE.finditer(word[0])
    )


def _mixed(word: str) -> bool:
    if _MIXED.search(word):
        return True
    folded = "".join(FOLD.get(one, one) for one in word)
    return folded.isascii() and any("a" <= one <= "z" for one in word.lower())


def _odd(character: str) -> str:
    """The character when a reader would not see it as it is, else ""."""
    plain = character.isprintable() and _INVISIBLE.match(character) is None
    return "" if plain or character == "\t" else character


def _mark(character: str, often: int) -> Markup:
    name = unicodedata.name(character, "a control character")
    html = Markup('<mark class="odd" title="{}">{}</mark>')
    return html.format(name, _point(character, often))


def _point(character: str, often: int) -> str:
    return f"U+{ord(character):04X}" + (f" x{often}" if often > 1 else "")
