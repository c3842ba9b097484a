"""The slot for recognisers that are more than rules: a model that finds names, for example.

A recogniser is installed as an entry point of the group ``portcullis.recognisers`` that names
something to call without arguments, such as a class::

    [project.entry-points."portcullis.recognisers"]
    names = "acme.names:Recogniser"

Whoever installs a package lets it run in the gate: that is the consent. Recognisers see whole
texts and run after the rules; in a stream, where text goes on as it settles, only rules act.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol

from portcullis.core.errors import Problem
from portcullis.core.inspection import Match

GROUP: Final = "portcullis.recognisers"


class Recogniser(Protocol):
    """Finds entities in a text. Made once; called on every text, from any thread.

    ``find`` returns what it found as spans of characters of that text, in any order; what
    overlaps a rule's match gives way to it. Entities are named as Presidio names them (PERSON,
    LOCATION, ORGANIZATION, NRP). What it raises denies the call, and it must answer within
    the time that policy leaves a call: no I/O.
    """

    def find(self, text: str) -> Sequence[Match]:
        """What was found in the text."""
        ...


class Checked:
    """A recogniser whose answers are held against the text: an ill-fitting span is a fault."""

    def __init__(self, name: str, recogniser: Recogniser) -> None:
        self.name = name
        self._recogniser = recogniser

    def find(self, text: str) -> tuple[Match, ...]:
        """What it found, sorted. Raises Problem PC7015 for a span outside of the text."""
        found = tuple(self._recogniser.find(text))
        for match in found:
            if not 0 <= match.start < match.end <= len(text):
                raise Problem("PC7015", f"recogniser {self.name}: a span outside of the text")
        return tuple(sorted(found, key=lambda match: (match.start, -match.end)))


def installed(entries: Iterable[EntryPoint] | None = None) -> tuple[Checked, ...]:
    """The recognisers of the group, by name. Raises Problem PC7015 when one cannot be made."""
    found = entry_points(group=GROUP) if entries is None else entries
    return tuple(_made(entry) for entry in sorted(found, key=lambda entry: entry.name))


def _made(entry: EntryPoint) -> Checked:
    try:
        recogniser = entry.load()()
    except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises
        raise Problem("PC7015", f"recogniser {entry.name}: {type(error).__name__}") from None
    if not callable(getattr(recogniser, "find", None)):
        raise Problem("PC7015", f"recogniser {entry.name}: it has no `find`")
    return Checked(entry.name, recogniser)
