"""Placeholders become values again; never in a link that leads out of the house."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from portcullis.checks.treat import PLACEHOLDER
from portcullis.core.ports import Vault
from portcullis.inspection.links import authorities, foreign

RUN: Final = 2048
"""How far back a link may begin that a placeholder stands in."""


def restored(text: str, vault: Vault) -> str:
    """The text with the values behind its placeholders, in one pass."""
    if "<" not in text:
        return text
    return PLACEHOLDER.sub(lambda found: vault.reveal(found[0]) or found[0], text)


def run(text: str) -> str:
    """What stands at the end of a text since the last space."""
    parts = text[-RUN:].split()
    return parts[-1] if parts and not text[-1].isspace() else ""


def value_of(placeholder: str, before: str, vault: Vault, links: Iterable[str]) -> str:
    """What goes on in the place of a placeholder: ``before`` is the ``run`` that it ends.

    Who follows a link tells its host all that stands in it, so the value is kept out of links to
    other hosts than ``links``.
    """
    if authorities(before) and foreign(before, links):
        return placeholder
    return vault.reveal(placeholder) or placeholder
