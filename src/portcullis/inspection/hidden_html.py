"""Text in HTML and Markdown that a model reads and a person does not see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

import re2

_OPTIONS: Final = re2.Options()
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
    b"<!--",
    rf"(?is)<([a-z][a-z0-9-]*)\b[^<>]*(?:{_STYLE}|aria-hidden\s*=\s*[\"']?true)"
    r"[^<>]*>|<(noscript|template)\b[^<>]*>"
    r"|<([a-z][a-z0-9-]*)\b[^<>]*\shidden(?:[\s=/][^<>]*)?>".encode(),
    (
        rb"(?i)[\s\"'](?:alt|title|aria-[a-z]+|placeholder|summary|content|value|data-[a-z-]+)"
        rb"\s*=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)')"
    ),
    (
        rb"(?m)^ {0,3}\[[^\]\n]*\]:[ \t]*\S+[ \t]*(?:\((.*)\)|\"(.*)\"|'(.*)')?[ \t]*$"
        rb"|!\[([^\]\n]*)\]\("
    ),
    rf"(?i)[a-z](?:{_INLINE})+[a-z]".encode(),
)
_, _ELEMENT, _ATTRIBUTE, _MARKDOWN, _ = (re2.compile(one, _OPTIONS) for one in _PATTERNS)


def _compiled() -> re2.Set:
    found = re2.Set.SearchSet(_OPTIONS)
    for pattern in _PATTERNS:
        found.Add(pattern)
    found.Compile()
    return found


_PRESENT: Final = _compiled()
_INLINE_TAG: Final = re.compile(_INLINE, re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")
_MOST: Final = 256  # of each kind; a comment or element is read this far:
_REACH: Final = 1 << 14
_LEFT: Final = 1 << 19  # bytes of each kind
_WORDS: Final = 3
_MOST_TAGS: Final = 1 << 14


class Hidden(NamedTuple):
    """``text``: the hidden parts, a line each; ``joined``: the text without the inline markup.

    ``joined`` is empty where no markup stands inside a word. ``kinds`` names what was used.
    """

    text: str
    joined: str
    kinds: frozenset[str]


def hidden(text: str, raw: bytes) -> Hidden:
    """What ``text`` hides in its markup; ``raw`` is the same in UTF-8. Linear, bounded."""
    parts: list[str] = []
    kinds = set()
    joined = ""
    for kind in (_KINDS[at] for at in sorted(_PRESENT.Match(raw) or ())):
        if kind == "html-split":
            kinds.add(kind)
            joined = _INLINE_TAG.sub("", text, count=_MOST_TAGS)
            continue
        before = len(parts)
        left = _LEFT
        for part in islice(_FIND[kind](raw), _MOST):
            left -= len(part)
            if left < 0:
                break
            said = _TAG.sub(" ", part.decode("utf-8", "ignore")).strip()
            if len(said.split(None, _WORDS)) >= _WORDS:
                parts.append(said)
        if len(parts) > before:
            kinds.add(kind)
    return Hidden("\n".join(parts), joined, frozenset(kinds))


def _comments(raw: bytes) -> Iterator[bytes]:
    at = 0
    while (start := raw.find(b"<!--", at)) >= 0:
        end = raw.find(b"-->", start + 4)
        at = end if end >= 0 else len(raw)  # one that is not closed goes on to the end
        yield raw[start + 4 : min(at, start + _REACH)]


def _elements(raw: bytes) -> Iterator[bytes]:
    for found in islice(_ELEMENT.finditer(raw), _MOST):
        name = next(group for group in found.groups() if group).lower()
        body = raw[found.end() : found.end() + _REACH]
        end = body.lower().find(b"</" + name)
        yield body if end < 0 else body[:end]


def _groups(pattern: re2._Regexp, raw: bytes) -> Iterator[bytes]:
    for found in islice(pattern.finditer(raw), _MOST):
        yield next((group for group in found.groups() if group), b"")


_FIND: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "html-comment": _comments,
    "html-hidden": _elements,
    "html-attribute": partial(_groups, _ATTRIBUTE),
    "markdown-comment": partial(_groups, _MARKDOWN),
}
