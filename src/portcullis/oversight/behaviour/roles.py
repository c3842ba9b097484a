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
from portcullis.oversight.behaviour.values import UNKNOWN, Novelty

COMING: Final = ("tool", "server", "shape ")
"""What comes to a role with a new version; so do values that are only read by."""
_MOST_COMING: Final = 2048
_LEAST: Final = 3
"""A role of fewer agents says nothing."""
_OWN: Final = frozenset({"pairs", "threes", "refusal", "moves"})
"""What says something about the agent alone."""


class Role(msgspec.Struct, frozen=True):
    """``common`` has, by thing, the values that at least half of the agents have.

    ``peaks`` are the medians over agents of the most in an hour and on a day; ``coming`` are values
    that are new, and to whom; ``novelty`` is how often new values of a thing
    come to its agents, the one left out to whom most come.
    """

    agents: int
    common: dict[str, frozenset[str]]
    peaks: dict[str, tuple[float, float]]
    coming: dict[tuple[str, str], set[str]]
    novelty: dict[str, Novelty]

    def has(self, facet: str, value: str) -> bool:
        """Whether a value is usual here."""
        return value in self.common.get(facet, ())

    def new(self, facet: str) -> Novelty:
        """How often a new value of something comes to somebody here."""
        return self.novelty.get(facet, UNKNOWN)

    def others(self, facet: str, value: str, agent: str) -> int:
        """To how many others something is new as well; from now on, to this one too."""
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
    things = {name for profile in some for name in profile.facets}
    most = max(2, (len(some) + 1) // 2)
    common = {
        name: frozenset(value for value, agents in _agents(some, name).items() if agents >= most)
        for name in things - _OWN
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
            if name.startswith(COMING) or " " in name:
                for value in values.waiting:
                    coming.setdefault((name, value), set()).add(profile.agent)
    return Role(len(some), common, peaks, coming, _novelty(some, things))


def _novelty(some: list[Profile], things: set[str]) -> dict[str, Novelty]:
    """How often new values come, of what at least two agents have; none decides alone."""
    day = max(one.day for one in some)
    found = {}
    for name in things:
        values = [one.facets[name] for one in some if name in one.facets]
        if len(values) > 1:
            came = sorted((one.expected(day) for one in values), key=lambda one: one[0] / one[1])
            new, days = (sum(numbers) for numbers in zip(*came[:-1], strict=True))
            found[name] = Novelty(new / days, sorted(one.busiest for one in values)[-2])
    return found


def _agents(some: Iterable[Profile], name: str) -> Counter[str]:
    """In how many agents each value is usual."""
    return Counter(value for one in some if name in one.facets for value in one.facets[name].seen)
