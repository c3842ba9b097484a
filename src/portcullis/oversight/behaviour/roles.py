"""What is usual in a role: what at least half of its agents do, so that none decides alone."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from portcullis.oversight.behaviour.profile import Profile

_LEAST: Final = 3
"""A role of fewer agents says nothing."""
_OWN: Final = frozenset({"pairs", "threes", "refusal", "moves"})
"""What says something about the agent alone."""


class Role(msgspec.Struct, frozen=True):
    """``common`` has, by thing, the values that at least half of the agents have.

    ``peaks`` are the medians over agents of the most in an hour and on a day.
    """

    agents: int
    common: dict[str, frozenset[str]]
    peaks: dict[str, tuple[float, float]]

    def has(self, facet: str, value: str) -> bool:
        """Whether a value is usual here."""
        return value in self.common.get(facet, ())


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
    return Role(len(some), common, peaks)


def _agents(some: Iterable[Profile], name: str) -> Counter[str]:
    """In how many agents each value is usual."""
    return Counter(value for one in some if name in one.facets for value in one.facets[name].seen)
