"""Text of an attacker's on a page: what a reader would not see is made visible, nothing is lost."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from markupsafe import Markup, escape

from portcullis.inspection.unhide import INVISIBLE

LONG: Final = 2000
"""From how many characters on a value is folded: it opens with a click, and is there in full."""
_TALL: Final = 40
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}\u2800]")
_KINDS: Final = {str: "text", bool: "yes or no", int: "number", float: "number", list: "list"}


def visible(text: str) -> str:
    """The text with every character that is not seen, or moves others, as ``⟨U+202E⟩``.

    Spaces, tabs and line feeds stay as they are. Of many in a row it says how many.
    """
    return "".join(f"⟨{_point(one, often)}⟩" if often else one for one, often in _runs(text))


def marked(text: str) -> Markup:
    """The same as HTML: such a character is a ``mark`` with its name."""
    pieces = (_mark(one, often) if often else escape(one) for one, often in _runs(text))
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


def _runs(text: str) -> Iterator[tuple[str, int]]:
    """The text in pieces: what is plain with 0, what is not one by one with how often in a row."""
    for number, line in enumerate(text.split("\n")):
        if number:
            yield "\n", 0
        if line.isprintable() and not _INVISIBLE.search(line):
            yield line, 0
            continue
        for odd, characters in groupby(line, key=_odd):
            run = "".join(characters)
            yield (odd, len(run)) if odd else (run, 0)


@lru_cache(maxsize=4096)
def _odd(character: str) -> str:
    """The character when a reader would not see it as it is, else ""."""
    plain = character.isprintable() and _INVISIBLE.match(character) is None
    return "" if plain or character == "\t" else character


@lru_cache(maxsize=4096)
def _mark(character: str, often: int) -> Markup:
    name = unicodedata.name(character, "a control character")
    html = Markup('<mark class="odd" title="{}">{}</mark>')
    return html.format(name, _point(character, often))


def _point(character: str, often: int) -> str:
    return f"U+{ord(character):04X}" + (f" x{often}" if often > 1 else "")
