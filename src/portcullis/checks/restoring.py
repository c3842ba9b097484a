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
"""How far back a link may begin that a placeholder stands in."""
_OPENED: Final = re.compile(
    r"([=(]\s*[\"']|\]\(\s*<?|\]:\s*<|<)(?=\s*(?:[a-z][a-z0-9+.-]{0,30}:|[/\\]{2}|&))",
    re.IGNORECASE,
)
_SPACES: Final = re.compile(r"[ \t\r\n\f]+")
"""What ends a link; other white space is a part of it, for browsers."""
_CLOSES: Final = {'"': '"', "'": "'", "<": ">"}
"""What ends a link that began after such a character; after any other, a parenthesis does."""
_BARE: Final = re.compile(r"(?i)(?<![\w/.-])(?:(?=www\.)|mailto:(?=[^\s?]*\?))")
"""Links without slashes: their hosts are read as if they stood after some."""


def restored(text: str, vault: Vault, links: Iterable[str]) -> str:
    """The text with the values behind its placeholders, but for those within links."""
    done, at = "", 0
    for found in PLACEHOLDER.finditer(text):
        done += text[at : found.start()]
        done += value_of(found[0], run(done), vault, links)
        at = found.end()
    return done + text[at:]


def run(text: str) -> str:
    """The link that a text ends within, or else what stands there since the last space.

    In quotes and angle brackets a link goes on after white space, as it does for browsers.
    """
    near = text[-RUN:]
    for opened in _OPENED.finditer(near):
        link = near[opened.end(1) :]
        if _CLOSES.get(opened[1][-1], ")") not in link:
            return link
    return _SPACES.split(near)[-1]


def value_of(placeholder: str, before: str, vault: Vault, links: Iterable[str]) -> str:
    """What goes on in the place of a placeholder: ``before`` is the ``run`` that it ends.

    Who follows a link tells its host all that stands in it, so the value is kept out of links to
    other hosts than ``links``.
    """
    shown = _BARE.sub("//", unescape(before))
    if authorities(shown) and foreign(shown, links):
        return placeholder
    if len(before) == RUN:
        return placeholder  # its beginning is out of sight
    return vault.reveal(placeholder) or placeholder
