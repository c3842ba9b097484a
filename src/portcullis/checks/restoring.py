"""Placeholders become values again; never in a link that leads out of the house."""

from __future__ import annotations

import re
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
    rf"[=(]\s*[\"']|\]\(|<(?=\s*(?:{_SCHEME}:|[/\\]{{2}}|&))", re.IGNORECASE
)
"""After what a link may begin that goes on over white space."""
_CLOSES: Final = {'"': '"', "'": "'", "(": ")", "<": ">"}
"""What ends a link that began after such a character."""
_PARTIAL: Final = re.compile(rf"(?:[=(]\s*|\]|<\s*(?:{_SCHEME}|[/\\])?)\Z", re.IGNORECASE)
"""What may become such a beginning, at the end of a text that goes on."""
_WHITE: Final = re.compile(r"\s+")
_SPACES: Final = " \t\r\n\f"
"""What ends any other link; other white space is a part of it, for browsers."""
_LEADING: Final = re.compile(r"<(?:base|form)[\s/]", re.IGNORECASE)
"""What says for others where they lead: a link's host, or a field's."""
_MAIL: Final = re.compile(r"(?i)(?<![\w/.-])mailto:(?=[^\s?]*\?)")
"""A link without slashes: its host is read as if it stood after some."""


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
        """The links that are open, by what ends them: of several with one end, the first."""
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
        within = (self._word, *self._open.values())
        if self._leading or any(link.leads_away(self._links) for link in within):
            return placeholder
        return vault.reveal(placeholder) or placeholder

    def _read(self, text: str) -> None:
        for end in [end for end in self._open if end in text]:
            del self._open[end]
        for link in self._open.values():
            link.add(text, self._links)
        joined = self._partial + text
        for opened in _OPENED.finditer(joined):
            end = _CLOSES[opened[0][-1]]
            begun = opened.end()
            if end not in self._open and joined.find(end, begun) < 0:
                self._open[end] = link = _Link()
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

    def leads_away(self, links: tuple[str, ...]) -> bool:
        """Whether any address in it is none of those hosts'."""
        if self._away:
            return True
        shown = _MAIL.sub("//", unescape(self._text))
        return bool(authorities(shown)) and foreign(shown, links)
