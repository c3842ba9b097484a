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
_PARTING_NAMES: Final = (
    "address|article|aside|audio|blockquote|body|br|button|canvas|caption|center|dd|details|dialog"
    "|dir|div|dl|dt|embed|fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hgroup|hr|html"
    "|iframe|img|input|legend|li|main|menu|nav|object|ol|optgroup|option|p|pre|search|section"
    "|select|summary|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video"
)
"""Elements that begin a line, or take room in one: of the text, their tags leave a space."""
_INLINE_NAMES: Final = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|nobr|q|s"
    "|samp|small|span|strike|strong|sub|sup|time|tt|u|var|wbr"
)
_ATTRIBUTES: Final = r"(?:[\s/][^<>]*)?"
_PARTING: Final = f"</?(?:{_PARTING_NAMES}){_ATTRIBUTES}>"
_INLINE: Final = f"<!--[^<>]*-->|</?(?:{_INLINE_NAMES}){_ATTRIBUTES}>"
_KINDS: Final = (
    *("html-comment", "html-hidden", "html-attribute", "markdown-comment", "html-split", "tags"),
)
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
    rf"(?i)[^\s<>]\s*(?:(?:{_INLINE}|{_PARTING})\s*)+[^\s<>]",
)
_ELEMENT, _ATTRIBUTE, _MARKDOWN = (compiled(one, capture=True) for one in _PATTERNS[1:4])
_BETWEEN: Final = compiled(_PATTERNS[-1])


def _compiled() -> re2.Set:
    found = re2.Set.SearchSet(_OPTIONS)
    for pattern in _PATTERNS:
        found.Add(pattern.encode())
    found.Compile()
    return found


_PRESENT: Final = _compiled()
_INLINE_TAG: Final = re.compile(_INLINE, re.IGNORECASE)
_PARTING_TAG: Final = re.compile(_PARTING, re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")
_MOST: Final = 1 << 10  # of each kind; a comment or element is read this far:
_REACH: Final = 1 << 14
_LEFT: Final = 1 << 19  # bytes of each kind
_WORDS: Final = 3
_MOST_TAGS: Final = 1 << 16


class Hidden(NamedTuple):
    """``text``: the hidden parts, a line each; ``joined``: what HTML shows of the text around tags.

    ``joined`` is empty where no tag stands between words or inside of one. ``kinds`` names what was
    used; ``more`` is whether not all of it was read.
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
            continue
        if kind == "tags":
            joined, cut = _shown(near(_BETWEEN, raw).decode("utf-8", "ignore"))
            more |= cut
            continue
        said, cut = _said(_FIND[kind](raw))
        more |= cut
        parts += said
        if said:
            kinds.add(kind)
    return Hidden("\n".join(parts), joined, frozenset(kinds), more)


def _shown(text: str) -> tuple[str, bool]:
    """The text with its tags taken out as HTML shows it, and whether there are more of them."""
    *most, rest = text.split("<", _MOST_TAGS)
    cut = len(most) == _MOST_TAGS
    if cut:
        text = text[: -len(rest) - 1]
    return _PARTING_TAG.sub(" ", _INLINE_TAG.sub("", text)), cut


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
