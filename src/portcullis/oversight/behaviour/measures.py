"""Amounts, held against what is usual: sizes, counts of an hour and a day, shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from portcullis.core.behaviour import Kind, Phase
from portcullis.oversight.behaviour.amounts import NEVER, Count, Size, Teach, doublings, limit
from portcullis.oversight.behaviour.profile import Profile, kind_of_day
from portcullis.oversight.behaviour.score import Scorer

_SETTLED_DAYS: Final = 4
_PADS: Final = {"calls": 10.0, "effects": 5.0, "refusals": 3.0, "errors": 3.0, "findings": 3.0}
_TOOL_PAD: Final = 5.0
_BYTES_PAD: Final = 4096.0
_BY_DOUBLING: Final = 40.0
_BY_DEVIATION: Final = 8.0
_LARGEST_SIZE: Final = 45.0
_SIZE: Final = 10.0
_GROSS_POINTS: Final = (30.0, 15.0)
_FULL_POINTS: Final = 30.0
_FEW_DAYS: Final = 3
_AGAIN: Final = 1.2
"""So much more it has to be before the same is said again."""
_FAILED: Final = math.log(0.5 / 0.1)
_WENT_WELL: Final = math.log(0.9 / 0.5)
"""What a call says for every second one going wrong, and against, where one in ten is usual."""
_LEAST_SHARE: Final = math.log(100.0)
_SHARE_MARGIN: Final = 1.2
_MOST_SHARE: Final = 15.0
_SHARE_POINTS: Final = 6.0
_BURST_SECONDS: Final = 300
_BURST_PAD: Final = 10.0


class Measures:
    """Counts and measures; ``scorer`` is told what is unusual.

    ``bounds`` say, by name, what is too much of anybody in an hour.
    """

    def __init__(self, scorer: Scorer, bounds: Mapping[str, float]) -> None:
        self._scorer = scorer
        self._bounds = bounds

    def size(
        self,
        profile: Profile,
        at: float,
        name: str,
        amount: float,
        teach: Teach,
        share: float = 1.0,
    ) -> None:
        """See the size of something that is known by a name."""
        size = profile.size(name, share)
        if size is None:
            self.full(profile, at)
        else:
            self.sized(profile, at, name, size, amount, teach, Kind.SIZE)

    def full(self, profile: Profile, at: float) -> None:
        """There are more things than are told apart: somebody may want that they are not."""
        self._scorer.unusual(
            *(profile, at, Kind.SHAPE, "too many arguments", _FULL_POINTS),
            seen="more than are told apart",
            usual=f"{len(profile.facets)} things, {len(profile.sizes)} sizes",
            grows=False,
        )

    def sized(
        self,
        profile: Profile,
        at: float,
        name: str,
        size: Size,
        amount: float,
        teach: Teach,
        kind: Kind,
    ) -> None:
        """See an amount, and hold it against the sizes before."""
        beyond = size.see(amount, teach)
        if beyond > 0.0:
            points = min(_LARGEST_SIZE, _SIZE + _BY_DEVIATION * beyond)
            seen = f"{amount:,.0f}"
            self._scorer.unusual(profile, at, kind, name, points, seen=seen, usual=size.usual())

    def burst(self, profile: Profile, at: float) -> None:
        """Count the calls of five minutes: what is done in two of them is not much of an hour."""
        burst, now = profile.burst, int(at) // _BURST_SECONDS
        if burst.window != now:
            if profile.phase is Phase.LEARNING:
                burst.peak = max(burst.peak, burst.count)
            burst.window, burst.count = now, 0
            burst.limit = limit(burst.peak, _BURST_PAD)
        burst.count += 1
        if burst.count > burst.limit and profile.days >= _SETTLED_DAYS:
            burst.limit = burst.count * _AGAIN
            self._scorer.unusual(
                *(profile, at, Kind.VOLUME, "calls in five minutes"),
                _BY_DOUBLING * doublings(burst.count, burst.peak, _BURST_PAD),
                seen=f"{burst.count}",
                usual=f"at most {burst.peak}",
                grows=False,
            )

    def share(self, profile: Profile, at: float, name: str, *, failed: bool) -> None:
        """Whether many of the last went wrong: a sum of likelihoods beside its largest (CUSUM)."""
        share = profile.shares.get(name)
        if share is None:
            share = profile.shares[name] = [0.0, 0.0]
        bound = max(_LEAST_SHARE, _SHARE_MARGIN * share[1])
        step = _FAILED if failed else -_WENT_WELL
        now = share[0] = min(max(0.0, share[0] + step), bound + _MOST_SHARE)
        if profile.phase is Phase.LEARNING:
            share[1] = min(_MOST_SHARE, max(share[1], now))
        elif failed and now > bound and profile.days >= _SETTLED_DAYS:
            self._scorer.unusual(
                *(profile, at, Kind.REFUSALS, f"many {name}", _SHARE_POINTS * (now - bound)),
                seen=f"some {now / _FAILED:.0f} of the last",
                usual=f"at most {share[1] / _FAILED:.0f} in a row",
                grows=False,
            )

    def count(self, profile: Profile, at: float, name: str, amount: float, kind: Kind) -> None:
        """Count so much of something, and hold the hour and the day against those before."""
        count = profile.counts.get(name)
        if count is None:
            pad = _PADS.get(name) or (_TOOL_PAD if name.startswith("tool ") else _BYTES_PAD)
            count = profile.count(name, pad, self._bounds.get(name, NEVER))
            if count is None:
                return
        count.hour += amount
        count.day += amount
        if count.hour > count.hour_limit:
            self._many(profile, at, name, kind, count, "hour")
        if count.day > count.day_limit:
            self._many(profile, at, name, kind, count, "day")

    def _many(
        self, profile: Profile, at: float, name: str, kind: Kind, count: Count, span: str
    ) -> None:
        if span == "hour":
            peak = count.hour_peak
            if name == "calls":
                peak = calls_peak(profile)
            amount, pad = count.hour, count.pad
            count.hour_limit = max(count.hour_limit, amount * _AGAIN)
            if amount > count.bound:
                self.beyond(profile, at, Kind.BOUND, name, amount, count.bound)
            if profile.days < _SETTLED_DAYS or profile.day - count.born < _SETTLED_DAYS:
                return
        else:
            count.day_limit = count.day * _AGAIN
            amount, peak, pad = count.day, count.day_peak, 2 * count.pad
        self._scorer.unusual(
            profile,
            at,
            kind,
            f"{name} in an {span}" if span == "hour" else f"{name} in a {span}",
            _BY_DOUBLING * doublings(amount, peak, pad),
            seen=f"{amount:,.0f}",
            usual=f"at most {peak:,.0f}",
            grows=False,
        )

    def beyond(
        self, profile: Profile, at: float, kind: Kind, name: str, amount: float, bound: float
    ) -> None:
        """There was more of something in an hour than is tolerated of anybody."""
        first, more = _GROSS_POINTS
        self._scorer.unusual(
            *(profile, at, kind, f"{name} in an hour"),
            first + more * math.log2(amount / bound),
            seen=f"{amount:,.0f}",
            usual=f"at most {bound:,.0f}",
            grows=False,
        )


def calls_peak(profile: Profile) -> float:
    """The most calls there ever were in this hour of this kind of day, or the ones beside it."""
    kind = kind_of_day(profile.day)
    if profile.active_days[kind] < _FEW_DAYS:
        return profile.counts["calls"].hour_peak
    near = (profile.calls_by_hour[24 * kind + (profile.hour + away) % 24] for away in (-1, 0, 1))
    return max(profile.counts["calls"].hour_peak / 2, *near)
