"""From what is unusual to a score: episodes that decay, sums by kind, what is usual of those.

While an agent's baseline is learned, what it would score is written down: so much of each kind is
usual for it, and only what is beyond that counts later. That is bounded, so that a noisy fortnight
cannot make anybody deaf.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from portcullis.core.behaviour import ENFORCED, GROSS, Kind, Reason, Thresholds
from portcullis.oversight.behaviour.profile import MOST_EPISODES, Episode, Profile

CAP: Final = 85.0
"""The most that one kind adds: for ``critical`` it takes two."""
_OTHERS: Final = 0.5
"""What the others of a kind add to the heaviest: they are seldom independent of it."""
_NOISE: Final = 30.0
"""The most of one kind that can be usual."""
_MARGIN: Final = 1.15
_REMEMBERED: Final = 7
_GROWTH: Final = 0.35
_EACH: Final = 3.0
_LARGEST_GROWTH: Final = 2.5
_RECENT: Final = 1800.0
"""What was seen so many seconds ago makes what goes on half as heavy as what is seen now."""
_GONE: Final = 2.0
_GROSS: Final = {kind.value for kind in GROSS}


def _second(points: Iterable[float]) -> float:
    """The second highest: what happened on one day only is not usual."""
    return sorted((0.0, 0.0, *points))[-2]


def _heard(usual: float, points: float) -> float:
    """How much of what is usual is taken off: less of what is far beyond it."""
    return usual * (1.0 - (points / CAP) ** 2)


class Scorer:
    """Adds up what is unusual about agents."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds

    def now(self, profile: Profile, at: float) -> float:
        """What is left of an agent's score."""
        if not profile.score:
            return 0.0
        return self.thresholds.decayed(profile.score, at - profile.scored_at)

    def unusual(
        self,
        profile: Profile,
        at: float,
        kind: Kind,
        subject: str,
        points: float,
        *,
        seen: str,
        usual: str,
        grows: bool = True,
    ) -> None:
        """Something is unusual by so many points; what goes on weighs more each time it ``grows``.

        What did not weigh anything any more begins anew.
        """
        if points <= 0.0:
            return
        key = f"{kind.value}:{subject}"
        one = profile.episodes.pop(key, None)
        left = 0.0 if one is None else self.thresholds.decayed(one.weight, at - one.at)
        if one is None or left < _GONE:
            one = Episode(kind, subject, seen, usual, points, points, at)
        else:
            one.count += 1
            one.recent = 1.0 + one.recent * 0.5 ** ((at - one.at) / _RECENT)
            if points >= one.base:
                one.base, one.seen = points, seen
            factor = min(_LARGEST_GROWTH, 1 + _GROWTH * math.log2(one.recent)) if grows else 1.0
            more = min(2 * one.base, _EACH * math.log2(one.recent)) if grows else 0.0
            one.weight = max(left, one.base * factor + more)
            one.at = at
        profile.episodes[key] = one
        if len(profile.episodes) > MOST_EPISODES:
            weakest = min(profile.episodes, key=lambda name: self._left(profile, name, at))
            del profile.episodes[weakest]
        self.rescore(profile, at)

    def rescore(self, profile: Profile, at: float) -> None:
        """Add up the score of an agent anew."""
        parts: dict[str, list[float]] = {}
        for name, one in profile.episodes.items():
            parts.setdefault(one.kind.value, []).append(self._left(profile, name, at))
        sums = {
            kind: max(points) + _OTHERS * (sum(points) - max(points))
            for kind, points in parts.items()
        }
        enforced = profile.phase in ENFORCED
        total = 0.0
        for kind, points in sums.items():
            capped = min(CAP, points)
            if capped > profile.today.get(kind, 0.0):
                profile.today[kind] = capped
            if kind in _GROSS:
                total += capped
            elif enforced:
                total += max(0.0, capped - _heard(profile.usual.get(kind, 0.0), capped))
        profile.score, profile.scored_at = total, at

    def day_over(self, profile: Profile, *, learning: bool) -> None:
        """A day is over: forget what weighs nothing, and note how noisy a day of learning was."""
        if learning:
            profile.past = [*profile.past[1 - _REMEMBERED :], profile.today]
            kinds = {kind for day in profile.past for kind in day} - _GROSS
            profile.usual = {
                kind: min(_NOISE, _MARGIN * _second(day.get(kind, 0.0) for day in profile.past))
                for kind in kinds
            }
        profile.today = {}

    def forget(self, profile: Profile, at: float) -> None:
        """Let go of episodes that weigh nothing any more."""
        gone = [name for name in profile.episodes if self._left(profile, name, at) < 1.0]
        for name in gone:
            del profile.episodes[name]

    def reasons(self, profile: Profile, at: float) -> tuple[Reason, ...]:
        """What is unusual, the heaviest first; while it is learned only what counts then."""
        enforced = profile.phase in ENFORCED
        found = [
            Reason(
                kind=one.kind,
                subject=one.subject,
                seen=one.seen,
                usual=one.usual,
                weight=round(self._left(profile, name, at), 1),
                at=one.at,
                count=one.count,
            )
            for name, one in profile.episodes.items()
            if enforced or one.kind in GROSS
        ]
        found = [one for one in found if one.weight >= 1.0]
        return tuple(sorted(found, key=lambda one: -one.weight)[:16])

    def _left(self, profile: Profile, name: str, at: float) -> float:
        one = profile.episodes[name]
        return self.thresholds.decayed(one.weight, at - one.at)
