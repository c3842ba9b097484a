"""What makes a tool's own texts suspect: instructions to the model, and characters that hide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from portcullis.catalogue.pins import Scan
from portcullis.core.errors import Problem
from portcullis.core.inspection import InjectionVerdict, Source, Text
from portcullis.inspection.inspector import Inspector
from portcullis.inspection.normalise import layers
from portcullis.inspection.reading import Wanted

_HIDING: Final = frozenset(
    {"bidi", "tags", "selectors", "zero-width", "flood", "html-hidden", "html-comment"}
)
"""Tricks that no honest description needs."""
_MOST: Final = 8
_WANTED: Final = Wanted(
    entities=frozenset(), injection=frozenset({Source.TOOL}), canaries=False, session=""
)


def hiding(texts: Sequence[str]) -> tuple[str, ...]:
    """The tricks by which texts hide something from a person; see ``catalogue.pins.Scan``."""
    found = (trick for text in texts for trick in layers(text).tricks)
    return tuple(dict.fromkeys(trick for trick in found if trick in _HIDING))


def tool_scan(inspector: Inspector) -> Scan:
    """Look at a tool's texts as at what a tool says, and for what they hide."""

    def scan(texts: Sequence[str]) -> tuple[str, ...]:
        try:
            readings = inspector.read(
                [Text(path=(), text=text, source=Source.TOOL) for text in texts], _WANTED
            )
        except Problem as problem:
            return (problem.code,)
        reasons = dict.fromkeys(hiding(texts))
        for reading in readings:
            found = reading.injection
            if found is not None and found.verdict is InjectionVerdict.INJECTION:
                reasons |= dict.fromkeys(found.reasons or ("instructions",))
        return tuple(reasons)[:_MOST]

    return scan
