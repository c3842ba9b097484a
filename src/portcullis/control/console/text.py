"""Text of an attacker's on a page: what a reader would not see is made visible, nothing is lost."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
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

    Spaces, tabs and line feeds stay as they are.
    """
    return "".join(one if plain else f"⟨{_point(one)}⟩" for one, plain in _runs(text))


def marked(text: str) -> Markup:
    """The same as HTML: such a character is a ``mark`` with its name."""
    return Markup("").join(
        escape(one)
        if plain
        else Markup('<mark class="odd" title="{}">{}</mark>').format(_name(one), _point(one))
        for one, plain in _runs(text)
    )


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


def _runs(text: str) -> list[tuple[str, bool]]:
    """The text in pieces: runs that are plain, and single characters that are not."""
    found: list[tuple[str, bool]] = []
    for number, line in enumerate(text.split("\n")):
        if number:
            found.append(("\n", True))
        if line.isprintable() and not _INVISIBLE.search(line):
            found.append((line, True))
        else:
            found.extend((one, not _odd(one)) for one in line)
    return found


def _odd(character: str) -> bool:
    hidden = not character.isprintable() or _INVISIBLE.match(character) is not None
    return hidden and character != "\t"


def _point(character: str) -> str:
    return f"U+{ord(character):04X}"


def _name(character: str) -> str:
    return unicodedata.name(character, "a control character")
