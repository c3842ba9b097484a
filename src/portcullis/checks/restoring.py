"""Placeholders become values again; never in a link that leads out of the house."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from html import unescape
from typing import Final

from portcullis.checks.treat import PLACEHOLDER
from portcullis.core.inspection_ports import Vault
from portcullis.inspection.links import authorities, foreign

RUN: Final = 8192
"""Characters of a link that are kept at least; what stood before them was judged."""
_SCHEME: Final = r"[a-z][a-z0-9+.-]{0,30}"
_OPENED: Final = re.compile(
    rf"[=(]\s*[\"']|[\"'](?={_SCHEME}:[/\\]|[/\\]{{2}}|\\[0-9a-f])"
    rf"|\]\(|\burl\((?!\s*[\"'])|<(?=\s*(?:{_SCHEME}:|[/\\]{{2}}|&))",
    re.IGNORECASE,
)
"""After what a link may begin that goes on over white space."""
_CLOSES: Final = {
    sign: re.compile(rf"(?<!\\)\{end}") for sign, end in zip("\"'(<", "\"')>", strict=True)
}
"""What ends a link that began after such a character; behind a backslash it may be part of it."""
_PARTIAL: Final = re.compile(rf"(?:[=(]\s*|[\]\"']|<\s*(?:{_SCHEME}|[/\\])?)\Z", re.IGNORECASE)
"""What may become such a beginning, at the end of a text that goes on."""
_NO_SPACE: Final = "\x01"
"""For a space that is part of a link."""
_WHITE: Final = re.compile(r"\s+")
_SPACES: Final = " \t\r\n\f"
"""What ends any other link; other white space is a part of it, for browsers."""
_LEADING: Final = re.compile(r"<(?:base|form|input|button|textarea|select)[\s/]", re.IGNORECASE)
"""What says for others where they lead: a link's host, or a field's; and what is sent there."""
_MAIL: Final = re.compile(r"(?i)(?<![\w/.-])(?:mailto|(?:sms|mms)(?:to)?):(?=[^\s?&;]*[?&;])")
"""A link without slashes: its host is read as if it stood after some."""
_BARE: Final = re.compile(
    r"(?i)(?<![\w/\\.@:%=&?+-])(?=(?:(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}"
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]{1,5})?[/?])"
)
"""Before a host with a path, without a scheme: many follow that too."""
_CSS: Final = re.compile(r"\\([0-9A-Fa-f]{1,6})\s?")
"""How a style sheet may write any character."""


def restored(text: str, vault: Vault, links: Iterable[str]) -> str:
    """The text with the values behind its placeholders, but for those within links."""
    trail, parts, at = Trail(links), [], 0
    for found in PLACEHOLDER.finditer(text):
        parts.append(trail.goes_on(text[at : found.start()]))
        parts.append(trail.goes_on(trail.value_of(found[0], vault)))
        at = found.end()
    return "".join((*parts, text[at:]))


class Trail:
    """What goes on of a text, as far as it says whether the text ends within a link.

    Who follows a link tells its host all that stands in it, so values are kept out of links to
    other hosts than ``links``. A link goes on up to a space, in quotes, parentheses and angle
    brackets up to their ends, as for browsers; however long that is, little of it is kept.
    """

    __slots__ = ("_leading", "_links", "_new", "_open", "_partial", "_word")

    def __init__(self, links: Iterable[str]) -> None:
        self._links = tuple(links)
        self._new: list[str] = []
        self._open: dict[str, _Link] = {}
        """The links that are open, by what they began after: of several, the first."""
        self._word = _Link()
        self._partial = ""
        self._leading = False

    def goes_on(self, text: str) -> str:
        """Take the next piece; returns it."""
        self._new.append(text)
        return text

    def value_of(self, placeholder: str, vault: Vault) -> str:
        """What goes on in the place of a placeholder that stands here."""
        self._read("".join(self._new))
        self._new.clear()
        away = self._leading or self._word.leads_away(self._links)
        if away or any(one.leads_away(self._links, spaced=True) for one in self._open.values()):
            return placeholder
        return vault.reveal(placeholder) or placeholder

    def _read(self, text: str) -> None:
        for sign in [sign for sign in self._open if _CLOSES[sign].search(text)]:
            del self._open[sign]
        for link in self._open.values():
            link.add(text, self._links)
        joined = self._partial + text
        for opened in _OPENED.finditer(joined):
            sign, begun = opened[0][-1], opened.end()
            if sign not in self._open and not _CLOSES[sign].search(joined, begun):
                self._open[sign] = link = _Link()
                link.add(joined[begun:], self._links)
        self._leading = self._leading or _LEADING.search(joined) is not None
        partial = _PARTIAL.search(joined)
        self._partial = _WHITE.sub(" ", partial[0]) if partial else ""
        space = max(map(text.rfind, _SPACES))
        if space >= 0:
            self._word = _Link()
        self._word.add(text[space + 1 :], self._links)


class _Link:
    """What may be a link so far: its last part, and whether what came before it leads away."""

    __slots__ = ("_away", "_text")

    def __init__(self) -> None:
        self._away = False
        self._text = ""

    def add(self, text: str, links: tuple[str, ...]) -> None:
        """It goes on."""
        self._text += text
        if len(self._text) > 2 * RUN:
            self._away = self.leads_away(links)
            self._text = self._text[-RUN:]

    def leads_away(self, links: tuple[str, ...], *, spaced: bool = False) -> bool:
        """Whether any address in it is none of those hosts'; ``spaced``: also over spaces.

        A host at the end counts as another's: what follows may be a part of it.
        """
        if self._away:
            return True
        shown = unescape(self._text)
        shown = shown.replace(" ", _NO_SPACE) if spaced else shown
        written = {shown, _CSS.sub(_character, shown)} if "\\" in shown else {shown}
        said = [_BARE.sub("//", _MAIL.sub("//", one)) + "@" for one in written]
        return any(authorities(one) and foreign(one, links) for one in said)


def _character(escaped: re.Match[str]) -> str:
    return chr(min(int(escaped[1], 16), sys.maxunicode))
