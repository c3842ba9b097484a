"""What is usual in a role: what at least half of its agents do, so that none decides alone.

What is new to several of its agents at once is rather a new version of something than any of them.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from portcullis.oversight.behaviour.profile import Profile

_COMING: Final = ("tool", "server", "shape ")
_MOST_COMING: Final = 2048
_LEAST: Final = 3
"""A role of fewer agents says nothing."""
_OWN: Final = frozenset({"pairs", "threes", "refusal", "moves"})
"""What says something about the agent alone."""


class Role(msgspec.Struct, frozen=True):
    """``common`` has, by thing, the values that at least half of the agents have.

    ``peaks`` are the medians over agents of the most in an hour and on a day; ``coming`` are tools,
    servers and shapes that are new, and to whom.
    """

    agents: int
    common: dict[str, frozenset[str]]
    peaks: dict[str, tuple[float, float]]
    coming: dict[tuple[str, str], set[str]]

    def has(self, facet: str, value: str) -> bool:
        """Whether a value is usual here."""
        return value in self.common.get(facet, ())

    def others(self, facet: str, value: str, agent: str) -> int:
        """To how many others something is new as well; from now on, to this one too."""
        if not facet.startswith(_COMING):
            return 0
        agents = self.coming.get((facet, value))
        if agents is None:
            if len(self.coming) < _MOST_COMING:
                self.coming[facet, value] = {agent}
            return 0
        found = len(agents - {agent})
        agents.add(agent)
        return found


def role_of(profiles: Iterable[Profile]) -> Role | None:
    """What is usual among these agents; None when they are too few."""
    some = [one for one in profiles if one.days]
    if len(some) < _LEAST:
        return None
    shared = {name for profile in some for name in profile.facets} - _OWN
    most = max(2, (len(some) + 1) // 2)
    common = {
        name: frozenset(value for value, agents in _agents(some, name).items() if agents >= most)
        for name in shared
    }
    peaks = {}
    for name in {name for profile in some for name in profile.counts}:
        counted = [one.counts[name] for one in some if name in one.counts]
        if 2 * len(counted) >= len(some):
            hours = statistics.median(one.hour_peak for one in counted)
            peaks[name] = (hours, statistics.median(one.day_peak for one in counted))
    coming: dict[tuple[str, str], set[str]] = {}
    for profile in some:
        for name, values in profile.facets.items():
            if name.startswith(_COMING):
                for value in values.waiting:
                    coming.setdefault((name, value), set()).add(profile.agent)
    return Role(len(some), common, peaks, coming)


def _agents(some: Iterable[Profile], name: str) -> Counter[str]:
    """In how many agents each value is usual."""
    return Counter(value for one in some if name in one.facets for value in one.facets[name].seen)
