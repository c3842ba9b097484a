"""HTML, XML and SVG: as they stand, and as they read."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

from portcullis.execution.extract.kinds import Opaque
from portcullis.execution.extract.plain import decoded, fitting

SCRIPTS: Final = "it holds scripts"
_ENTITY: Final = re.compile(r"<!\s*(?:ENTITY|DOCTYPE[^>\[]{0,2000}\[)", re.IGNORECASE)
_SCRIPT: Final = re.compile(r"<script\b|\son[a-z]{3,24}\s*=|javascript:", re.IGNORECASE)
_INLINE: Final = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "font", "i", "mark", "q", "s", "small"}
    | {"span", "strong", "sub", "sup", "tspan", "u", "var", "wbr"}
)
_SAID: Final = frozenset({"alt", "title", "aria-label", "placeholder", "content", "value", "label"})


def text_of(data: bytes, media_type: str, room: int) -> tuple[str, str]:
    """The document as it stands and, after it, as it reads; and a remark. Raises Opaque."""
    source = decoded(data, media_type, room)
    if _ENTITY.search(source):
        raise Opaque("it declares entities")
    reader = _Reader()
    reader.feed(source)
    reader.close()
    read = re.sub(r"[ \t]*\n\s*", "\n", "".join(reader.parts)).strip()
    text = source if not read or read == source.strip() else f"{source}\n{read}"
    return fitting(text, room), SCRIPTS if _SCRIPT.search(source) else ""


class _Reader(HTMLParser):
    """What a reader would see, and what attributes say to one; words are not cut by markup."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _INLINE:
            self.parts.append("\n")
        self.parts += [f"\n{value}\n" for name, value in attrs if name in _SAID and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _INLINE:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_comment(self, data: str) -> None:
        self.parts.append(f"\n{data}\n")
