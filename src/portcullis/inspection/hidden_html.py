"""Text in HTML and Markdown that a model reads and a person does not see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

import re2

from portcullis.inspection.decode import near
from portcullis.inspection.engines import ANYWHERE, Search, compiled

_OPTIONS: Final = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_OPTIONS.max_mem = 32 << 20

_STYLE: Final = (
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|font-size\s*:\s*0*[01]?(?:px|pt|r?em)"
    r"|font-size\s*:\s*0+[\s;\"']|opacity\s*:\s*0(?:\.0[0-9]*)?[\s;\"'%]|text-indent\s*:\s*-[0-9]{3}"
    r"|[\s;\"']color\s*:\s*(?:#fff|white|transparent|rgba?\(\s*255\s*,\s*255\s*,\s*255)"
    r"|(?:left|right|top|bottom)\s*:\s*-[0-9]{3}|[\s;\"'](?:height|width)\s*:\s*0[^.0-9]"
    r"|clip\s*:\s*rect\(\s*0|clip-path\s*:\s*inset\(\s*(?:50|100)%"
)
_INLINE: Final = (
    r"<!--[^<>]*-->"
    r"|</?(?:a|b|code|em|font|i|mark|s|small|span|strong|sub|sup|u|wbr)(?:\s[^<>]*)?/?>"
)
_KINDS: Final = ("html-comment", "html-hidden", "html-attribute", "markdown-comment", "html-split")
_PATTERNS: Final = (
    "<!--",
    (
        rf"(?is)<([a-z][a-z0-9-]*)\b[^<>]*(?:{_STYLE}|aria-hidden\s*=\s*[\"']?true)"
        r"[^<>]*>|<(noscript|template)\b[^<>]*>"
        r"|<([a-z][a-z0-9-]*)\b[^<>]*\shidden(?:[\s=/][^<>]*)?>"
    ),
    (
        r"(?i)[\s\"'](?:alt|title|aria-[a-z]+|placeholder|summary|content|value|data-[a-z-]+)"
        r"\s*=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)')"
    ),
    (
        r"(?m)^ {0,3}\[[^\]\n]*\]:[ \t]*\S+[ \t]*(?:\((.*)\)|\"(.*)\"|'(.*)')?[ \t]*$"
        r"|!\[([^\]\n]*)\]\("
    ),
    rf"(?i)[a-z](?:{_INLINE})+[a-z]",
)
_, _ELEMENT, _ATTRIBUTE, _MARKDOWN, _ = (compiled(one, capture=True) for one in _PATTERNS)
_SPLIT: Final = compiled(_PATTERNS[-1])


def _compiled() -> re2.Set:
    found = re2.Set.SearchSet(_OPTIONS)
    for pattern in _PATTERNS:
        found.Add(pattern.encode())
    found.Compile()
    return found


_PRESENT: Final = _compiled()
_INLINE_TAG: Final = re.compile(_INLINE, re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")
_MOST: Final = 1 << 10  # of each kind; a comment or element is read this far:
_REACH: Final = 1 << 14
_LEFT: Final = 1 << 19  # bytes of each kind
_WORDS: Final = 3
_MOST_TAGS: Final = 1 << 14


class Hidden(NamedTuple):
    """``text``: the hidden parts, a line each; ``joined``: the text without the inline markup.

    ``joined`` is empty where no markup stands inside a word. ``kinds`` names what was used;
    ``more`` is whether not all of it was read.
    """

    text: str
    joined: str
    kinds: frozenset[str]
    more: bool


def hidden(raw: bytes) -> Hidden:
    """What a text, in UTF-8, hides in its markup. Linear, bounded."""
    parts: list[str] = []
    kinds = set()
    joined = ""
    more = False
    for kind in (_KINDS[at] for at in sorted(_PRESENT.Match(raw) or ())):
        if kind == "html-split":
            kinds.add(kind)
            around = near(_SPLIT, raw).decode("utf-8", "ignore")
            joined, count = _INLINE_TAG.subn("", around, count=_MOST_TAGS)
            more |= count == _MOST_TAGS
            continue
        said, cut = _said(_FIND[kind](raw))
        more |= cut
        parts += said
        if said:
            kinds.add(kind)
    return Hidden("\n".join(parts), joined, frozenset(kinds), more)


def _said(found: Iterator[tuple[bytes, bool]]) -> tuple[list[str], bool]:
    """The parts of three words and more, and whether not all was read."""
    parts: list[str] = []
    left = _LEFT
    cut = False
    for number, (part, long) in enumerate(found):
        left -= len(part)
        if left < 0 or number == _MOST:
            return parts, True
        cut |= long
        said = _TAG.sub(" ", part.decode("utf-8", "ignore")).strip()
        if len(said.split(None, _WORDS)) >= _WORDS:
            parts.append(said)
    return parts, cut


def _comments(raw: bytes) -> Iterator[tuple[bytes, bool]]:
    at = 0
    while (start := raw.find(b"<!--", at)) >= 0:
        end = raw.find(b"-->", start + 4)
        at = end if end >= 0 else len(raw)  # one that is not closed goes on to the end
        yield raw[start + 4 : min(at, start + _REACH)], at > start + _REACH


def _elements(raw: bytes) -> Iterator[tuple[bytes, bool]]:
    for found in _each(_ELEMENT, raw):
        name = next(raw[start:end] for start, end in found[1:] if start >= 0).lower()
        begin = found[0][1]
        body = raw[begin : begin + _REACH]
        end = body.lower().find(b"</" + name)
        yield body if end < 0 else body[:end], end < 0 and begin + _REACH < len(raw)


def _groups(search: Search, raw: bytes) -> Iterator[tuple[bytes, bool]]:
    for found in _each(search, raw):
        yield next((raw[start:end] for start, end in found[1:] if end > start), b""), False


def _each(search: Search, raw: bytes) -> Iterator[list[tuple[int, int]]]:
    found = search(ANYWHERE, raw, 0, len(raw))
    while found[0][0] >= 0:
        yield found
        found = search(ANYWHERE, raw, found[0][1], len(raw))


_FIND: Final[dict[str, Callable[[bytes], Iterator[tuple[bytes, bool]]]]] = {
    "html-comment": _comments,
    "html-hidden": _elements,
    "html-attribute": partial(_groups, _ATTRIBUTE),
    "markdown-comment": partial(_groups, _MARKDOWN),
}
