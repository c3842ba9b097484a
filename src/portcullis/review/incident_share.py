"""How much of a long history is opened: every kind of event gets its share.

Whoever floods the log fills the share of what he floods it with, and of nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from portcullis.core.call import Action
from portcullis.core.incident_log_ports import Spot

Alike: TypeAlias = tuple[str, ...]


def alike(spot: Spot) -> Alike:
    """What events have in common that stand for each other.

    Only names of tools that were allowed are part of it: of all others an agent may make up as many
    as it likes.
    """
    named = spot.verdict == "allow" and spot.action == Action.TOOL
    said = (spot.server, spot.name, spot.risk) if named else ("", "", spot.code)
    return (spot.type, spot.action, spot.verdict, *said, "found" if spot.found else "")


class Shares:
    """At most ``most`` of these events in all, the first of each kind.

    Kinds that are few get all they want; the others get as much as each other.
    """

    def __init__(self, counts: Mapping[Alike, int], most: int) -> None:
        self._taken: Counter[Alike] = Counter()
        self._may: dict[Alike, int] = {}
        left = most
        for place, (kind, count) in enumerate(sorted(counts.items(), key=lambda one: one[::-1])):
            self._may[kind] = min(count, left // (len(counts) - place))
            left -= self._may[kind]

    def take(self, spot: Spot) -> bool:
        """Whether this one is within its kind's share."""
        kind = alike(spot)
        if self._taken[kind] >= self._may.get(kind, 0):
            return False
        self._taken[kind] += 1
        return True
