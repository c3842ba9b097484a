"""What happens when an hour or a day is over: peaks, cumulative access, slow growth, drift."""

from __future__ import annotations

import math
import statistics
from typing import Final

from portcullis.core.behaviour import Kind, Phase, Verb, after
from portcullis.oversight.behaviour.amounts import NEVER, Teach
from portcullis.oversight.behaviour.distinct import Distinct
from portcullis.oversight.behaviour.measures import calls_peak
from portcullis.oversight.behaviour.profile import (
    MOST_TOTALS,
    Profile,
    Total,
    kind_of_day,
)
from portcullis.oversight.behaviour.score import Scorer

_CREEPING: Final = frozenset({"calls", "result bytes", "request bytes", "output tokens"})
_OF_TOOL: Final = "tool "
_SESSIONS: Final = "sessions"
_SETTLED_DAYS: Final = 3
"""Before, nobody says what is many."""
_HISTORY: Final = 28
_FEW: Final = 3
_MANY: Final = 8
_SPREADS: Final = (0.4, 0.2)
"""The least spread of days' logarithms, with few days and with many."""
_TOLERATED: Final = 1.2
"""So many deviations above the median a day may be without creeping."""
_MOST_A_DAY: Final = 4.0
_CREPT: Final = 4.0
_CREPT_POINTS: Final = (30.0, 9.0)
_AWAY: Final = math.log(1.7)
_BACK: Final = math.log(1.4)
_NEAR: Final = math.log(1.5)
_SHORT: Final = 5
_DRIFT: Final = 32.0
_MOST_DRIFT: Final = 38.0
_AGAIN: Final = 1.2
_MAD: Final = 1.4826


class Days:
    """Ends hours and days of profiles; ``scorer`` is told what is unusual."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def hour_over(self, profile: Profile, at: float, hour: int, teach: Teach) -> None:
        """An hour is over, maybe a day; the next event of the agent is of ``hour``."""
        if profile.hour >= 0:
            calls = profile.counts.get("calls")
            if calls is not None and teach is Teach.ALL:
                slot = 24 * kind_of_day(profile.day) + profile.hour % 24
                profile.calls_by_hour[slot] = max(profile.calls_by_hour[slot], calls.hour)
            for count in profile.counts.values():
                count.hour_over(teach)
        day = hour // 24
        begins = day != profile.day
        if begins:
            if profile.day >= 0:
                self._day_over(profile, at, teach)
            profile.day = day
            profile.days += 1
            profile.active_days[kind_of_day(day)] += 1 if teach is Teach.ALL else 0
        profile.hour = hour
        if profile.days > _SETTLED_DAYS:
            for name, count in profile.counts.items():
                if day - count.born < _SETTLED_DAYS:
                    continue
                count.arm(calls_peak(profile) if name == "calls" else None)
                if begins or count.day_limit == NEVER:
                    count.arm_day()
        self._scorer.forget(profile, at)
        self.look(profile, at)

    def look(self, profile: Profile, at: float) -> None:
        """Say how the day looks so far, beside the days before."""
        if profile.days <= _SETTLED_DAYS:
            return
        for name, amount in _today(profile).items():
            total = profile.totals.get(name)
            if total is not None:
                self._crept(profile, at, name, total, amount)

    def _crept(self, profile: Profile, at: float, name: str, total: Total, amount: float) -> None:
        far = _deviations(total, kind_of_day(profile.day), amount)
        if far is None:
            return
        crept = max(0.0, total.crept + min(far, _MOST_A_DAY) - _TOLERATED)
        bound = max(_CREPT, 1.3 * total.furthest)
        if far > _TOLERATED and crept > bound and amount > total.said:
            total.said = amount * _AGAIN
            first, more = _CREPT_POINTS
            history = total.days[kind_of_day(profile.day)]
            self._scorer.unusual(
                *(profile, at, Kind.ACCESS, f"{name} over days", first + more * (crept - bound)),
                seen=f"{amount:,.0f} so far today",
                usual=f"about {math.expm1(statistics.median(history)):,.0f} a day",
                grows=False,
            )

    def _day_over(self, profile: Profile, at: float, teach: Teach) -> None:
        kind = kind_of_day(profile.day)
        for name, amount in _today(profile).items():
            total = profile.totals.get(name)
            if total is None:
                if len(profile.totals) >= MOST_TOTALS:
                    continue
                total = profile.totals[name] = Total()
            far = _deviations(total, kind, amount)
            if far is not None:
                total.crept = max(0.0, total.crept + min(far, _MOST_A_DAY) - _TOLERATED)
                if far < _TOLERATED:
                    total.crept /= 2
                if teach is Teach.ALL:
                    total.furthest = min(2 * _CREPT, max(total.furthest, total.crept))
            total.said = 0.0
            _remember(total, kind, math.log1p(amount), far, teach)
        for count in profile.counts.values():
            count.day_over(teach)
        profile.session_ids = Distinct()
        profile.disturbed = False
        self._scorer.day_over(profile, learning=profile.phase is Phase.LEARNING)
        self._drift(profile, at)

    def _drift(self, profile: Profile, at: float) -> None:
        """Hold the last days against the anchor, whatever they taught."""
        if profile.phase not in {Phase.LOCKED, Phase.DRIFTING}:
            return
        name, far = max(
            (
                (name, _away(total))
                for name, total in profile.totals.items()
                if not name.startswith(_OF_TOOL)
            ),
            key=lambda one: one[1],
            default=("", 0.0),
        )
        if profile.phase is Phase.DRIFTING and far < _BACK:
            profile.phase = after(profile.phase, Verb.RETURN)
        elif profile.phase is Phase.LOCKED and far > _AWAY:
            profile.phase = after(profile.phase, Verb.DRIFT)
        if profile.phase is Phase.DRIFTING:
            self._scorer.unusual(
                *(profile, at, Kind.DRIFT, name, min(_MOST_DRIFT, _DRIFT * far / _AWAY)),
                seen=f"{math.exp(far):.1f} times the anchor over the last days",
                usual="as when it was ratified",
                grows=False,
            )


def anchored(profile: Profile, hour: int) -> None:
    """Take the anchor: what is known now is as it should be.

    Of one that was anchored before, so are the last days, wherever they had drifted to.
    """
    for values in profile.facets.values():
        values.accept(hour)
    for size in (*profile.sizes.values(), profile.order_size):
        size.hold()
    for count in profile.counts.values():
        count.hold()
    for total in profile.totals.values():
        total.crept = 0.0
        for kind in (0, 1):
            if total.anchor[kind] is not None:
                total.days[kind][:] = total.short[kind] or total.days[kind]
            history = total.days[kind]
            total.anchor[kind] = statistics.median(history) if history else None
            total.middle[kind] = _middle(history)
            total.short[kind].clear()
    profile.episodes = {}
    profile.score = 0.0


def _today(profile: Profile) -> dict[str, float]:
    """What the day comes to so far."""
    found: dict[str, float] = {
        name: count.day
        for name, count in profile.counts.items()
        if name in _CREEPING or name.startswith(_OF_TOOL)
    }
    found[_SESSIONS] = profile.session_ids.count()
    return found


def _deviations(total: Total, kind: int, amount: float) -> float | None:
    """By how many deviations a day is above the median; None while that cannot be said."""
    middle = total.middle[kind]
    if middle is None or amount < 1.0:
        return None
    return (math.log1p(amount) - middle[0]) / middle[1]


def _middle(history: list[float]) -> tuple[float, float] | None:
    """Median and spread of some days' logarithms; None of too few.

    Of few things the spread is at least what counting them by chance brings.
    """
    if len(history) < _FEW:
        return None
    middle = statistics.median(history)
    spread = _MAD * statistics.median(abs(one - middle) for one in history)
    return middle, max(spread, _SPREADS[len(history) >= _MANY], math.exp(-middle / 2))


def _remember(total: Total, kind: int, value: float, far: float | None, teach: Teach) -> None:
    """A day becomes part of the history; of a locked one only what is near the anchor."""
    total.short[kind].append(value)
    del total.short[kind][:-_SHORT]
    history = total.days[kind]
    anchor = total.anchor[kind]
    if teach is Teach.SLOWLY and anchor is not None:
        if far is not None and far > _TOLERATED + 1.0:
            return
        value = min(max(value, anchor - _NEAR), anchor + _NEAR)
    elif teach is not Teach.ALL:
        return
    history.append(value)
    del history[:-_HISTORY]
    total.middle[kind] = _middle(history)


def _away(total: Total) -> float:
    """How far the last days are from the anchor, as a logarithm, in units of 1 for e times."""
    away = 0.0
    for kind in (0, 1):
        anchor, short = total.anchor[kind], total.short[kind]
        if anchor is not None and len(short) == _SHORT:
            far = statistics.median(short) - anchor
            history = total.days[kind]
            spread = _MAD * statistics.median(abs(one - anchor) for one in history)
            if far > 2 * spread:
                away = max(away, far)
    return away
