"""From what was found in a text to what stands in its place. Pure but for the vault.

Masks look like ``[EMAIL_ADDRESS]``, digests like ``<EMAIL_ADDRESS#1f2e3d4c>``, placeholders like
``<EMAIL_ADDRESS_1>``. Text that looks like a placeholder and is none becomes one itself, so that
what is restored later is the text that was there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from portcullis.checks.rules import Rules
from portcullis.core.inspection import (
    STRICTNESS,
    Category,
    Channel,
    Match,
    Treatment,
)
from portcullis.core.inspection_ports import Vault
from portcullis.core.verdict import Finding

LITERAL: Final = "LITERAL"
"""The entity of what only looks like a placeholder."""
PLACEHOLDER: Final = re.compile(r"<[A-Z][A-Z0-9_]{0,62}_[0-9]{1,15}>")
LONGEST: Final = 81
"""Characters of the longest placeholder."""
PREFIX: Final = re.compile(rf"<(?:[A-Z][A-Z0-9_]{{0,{LONGEST - 3}}})?\Z")
"""What may yet become a placeholder, at the end of a text that goes on."""

KEY: Final = "PRIVATE_KEY"
LONG_KEY: Final = 6600
"""Characters of which rules see no more of a key."""
_END: Final = "-----"
_REST: Final = re.compile(
    r"[0-9A-Za-z+/=\s\\]*(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)

REWRITTEN: Final = frozenset({Treatment.TOKENISE, Treatment.MASK, Treatment.HASH})
"""Treatments after which another text stands there."""


class Span(msgspec.Struct, frozen=True):
    """A stretch of a text, what it is, and what is done with it."""

    start: int
    end: int
    entity: str
    treatment: Treatment


@dataclass(frozen=True, slots=True)
class Substitutes:
    """What stands for a value. ``commit`` is a keyed digest, in hex, of the data subject's own."""

    vault: Vault
    commit: Callable[[bytes], str]

    def of(self, entity: str, treatment: Treatment, value: str) -> str:
        """Problem PC3025 when the vault is full."""
        if treatment is Treatment.TOKENISE:
            return self.vault.hide(entity, value)
        if treatment is Treatment.HASH:
            digest = self.commit(f"{entity}\0{value}".encode("utf-8", "surrogatepass"))
            return f"<{entity}#{digest[-8:]}>"
        return mask(entity)


def mask(entity: str) -> str:
    """What tells nothing but what it was."""
    return f"[{entity}]"


def decided(
    matches: Iterable[Match],
    rules: Rules,
    channel: Channel,
    harmless: Callable[[Match], bool],
) -> list[Span]:
    """What policy wants done with each match; what is allowed is left out.

    ``harmless`` says of a match of the exfiltration group that it leads where it may.
    """
    spans = []
    for match in matches:
        treatment = rules.treatment(channel, match.entity, match.category)
        if treatment is Treatment.ALLOW:
            continue
        if match.category is Category.EXFILTRATION and harmless(match):
            continue
        spans.append(Span(match.start, match.end, match.entity, treatment))
    return spans


def unended(text: str, start: int, end: int, entity: str) -> bool:
    """Whether this stretch of a text is a private key that is longer than the rules can say."""
    return entity == KEY and end - start > LONG_KEY and not text.endswith(_END, start, end)


def lengthened(text: str, spans: Iterable[Span]) -> list[Span]:
    """The spans, those of long private keys to the line that ends them, or as far as they go."""
    return [
        msgspec.structs.replace(span, end=span.end + lengthens(text, span.end))
        if unended(text, span.start, span.end, span.entity)
        else span
        for span in spans
    ]


def lengthens(text: str, at: int = 0) -> int:
    """By how many characters a long private key goes on in a text."""
    rest = _REST.match(text, at)
    return len(rest[0]) if rest else 0


def placeholders(text: str, treatment: Treatment) -> list[Span]:
    """What looks like a placeholder: to be restored (ALLOW), or to be hidden (TOKENISE)."""
    if "<" not in text:
        return []
    return [
        Span(found.start(), found.end(), LITERAL, treatment) for found in PLACEHOLDER.finditer(text)
    ]


def merged(spans: Iterable[Span]) -> list[Span]:
    """In order and without overlap: what overlaps becomes one, treated as its strictest part."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if found and span.start < found[-1].end:
            last = found[-1]
            rule = max(last, span, key=lambda s: (STRICTNESS[s.treatment], s.entity != LITERAL))
            found[-1] = Span(last.start, max(last.end, span.end), rule.entity, rule.treatment)
        else:
            found.append(span)
    return found


def findings(spans: Iterable[Span], where: str, *, fixed: bool = False) -> tuple[Finding, ...]:
    """What goes on record of a text's spans; a ``fixed`` text is blocked, not rewritten."""
    return tuple(
        Finding(
            type=span.entity,
            where=where,
            treatment=Treatment.BLOCK if fixed and span.treatment in REWRITTEN else span.treatment,
        )
        for span in spans
        if span.entity != LITERAL
    )
