"""What is looked for in texts, by whom, and what was seen in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from portcullis.core.inspection import (
    Category,
    InjectionScore,
    InjectionVerdict,
    Leak,
    Match,
    Source,
)


class Scanner(Protocol):
    """What the inspector asks of the rules; see `patterns.Patterns`."""

    @property
    def entities(self) -> frozenset[str]:
        """All that these rules look for."""
        ...

    def scan(self, texts: Sequence[str], keys: Sequence[str] = ()) -> Sequence[Sequence[Match]]:
        """What stands in each text."""
        ...

    def only(self, entities: frozenset[str]) -> Scanner:
        """The rules for these entities."""
        ...


class Scorer(Protocol):
    """What the inspector asks of the injection detector; see `injection.Injection`."""

    def score(self, text: str, source: Source) -> InjectionScore:
        """How much it looks like instructions to a model."""
        ...


class CanaryFinder(Protocol):
    """What the inspector asks of the canaries; see `canary.Canaries`."""

    def find(self, text: str, session: str = "", /) -> Sequence[Leak]:
        """Canaries that stand in the text, also encoded."""
        ...

    def absent(self, text: str, /) -> bool:
        """Whether it is plain that there are none, in no text of which this one was joined."""
        ...


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for: these entities (None: all), instructions in texts of these sources.

    ``session`` is the key of the session whose canaries are told from those of others.
    ``recognised`` says whether the installed recognisers are asked, too.
    """

    entities: frozenset[str] | None = None
    injection: frozenset[Source] = frozenset(Source)
    canaries: bool = True
    session: str = ""
    recognised: bool = True


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """An entity that only shows when the text is normalised or decoded.

    ``layer`` says how it was hidden: ``normalised``, or the encodings, outermost first.
    """

    entity: str
    category: Category
    rule: str
    layer: str


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in one text.

    ``matches`` are in order, without overlap. ``hidden`` has no place in the text. ``injection``
    is None where it was not asked for; its reasons begin with the layer they were seen in.
    ``tricks`` names what was undone to read the text.
    """

    matches: tuple[Match, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    injection: InjectionScore | None = None
    leaks: tuple[Leak, ...] = ()
    tricks: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether there is nothing in it that anybody could care about."""
        clean = self.injection is None or self.injection.verdict is InjectionVerdict.CLEAN
        return clean and not (self.matches or self.hidden or self.leaks)


NOTHING: Final = Reading()
"""Of a text in which nothing was seen."""
