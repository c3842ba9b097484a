"""How large something is (``Size``), and how often it comes in an hour and a day (``Count``)."""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

import msgspec

_ENOUGH: Final = 20
_SPREAD: Final = 0.25
"""The least standard deviation, in natural logarithms: nothing is expected to the byte."""
_PAD: Final = 32.0
_FAST: Final = 0.005
_FORGETS: Final = 200
_SLOW: Final = 0.001
_FAR: Final = 0.4
"""How far a locked mean may move from its anchor, in natural logarithms: half as much again."""
_USUAL_Z: Final = 4.5
_BY_DAY: Final = 1.02
_BY_HOUR: Final = _BY_DAY ** (1 / 24)
_FURTHEST: Final = 1.5
NEVER: Final = math.inf


class Teach(Enum):
    """What an event teaches: nothing, what moves a locked baseline slowly, or all."""

    NOTHING = 0
    SLOWLY = 1
    ALL = 2


class Size(msgspec.Struct):
    """Mean and spread of the logarithm of a size, decaying; and the largest there was."""

    count: int = 0
    mean: float = 0.0
    spread: float = 0.0
    most: float = 0.0
    anchor: float | None = None

    def see(self, size: float, teach: Teach) -> float:
        """By how many deviations a size is more than unusual; then learn from it.

        0 for what is not unusual, and while too few were seen to say.
        """
        value = math.log(size + _PAD)
        beyond = 0.0
        if value > self.most and self.count >= _ENOUGH:
            deviation = max(_SPREAD, math.sqrt(self.spread))
            bound = max(self.mean + _USUAL_Z * deviation, self.most + deviation)
            beyond = max(0.0, (value - bound) / deviation)
        if teach is Teach.NOTHING:
            return beyond
        self.count += 1
        step = value - self.mean
        if teach is Teach.SLOWLY and self.anchor is not None:
            mean = self.mean + _SLOW * step
            self.mean = min(max(mean, self.anchor - _FAR), self.anchor + _FAR)
            return beyond
        share = 1.0 / self.count if self.count < _FORGETS else _FAST
        self.mean += share * step
        self.spread = (1.0 - share) * (self.spread + share * step * step)
        self.most = max(self.most, value)
        return beyond

    def hold(self) -> None:
        """From now on the mean is held near where it is."""
        self.anchor = self.mean

    def usual(self) -> str:
        """For people."""
        return f"about {math.exp(self.mean) - _PAD:,.0f}, at most {math.exp(self.most) - _PAD:,.0f}"


class Count(msgspec.Struct):
    """How much there was in this hour and on this day, and the most there ever was of both.

    ``hour_limit`` and ``day_limit`` are from where on it is unusual, infinite while nobody knows:
    ``born`` is the first day, and what is younger than a few days is not unusual. ``bound`` is too
    much in an hour for anybody. ``anchor`` has both peaks as when the baseline was locked.
    """

    pad: float
    born: int
    bound: float = NEVER
    hour: float = 0.0
    day: float = 0.0
    hour_peak: float = 0.0
    day_peak: float = 0.0
    hour_limit: float = NEVER
    day_limit: float = NEVER
    anchor: tuple[float, float] | None = None

    def hour_over(self, teach: Teach) -> None:
        """An hour is over."""
        if teach is Teach.ALL or (teach is Teach.SLOWLY and self.anchor is None):
            self.hour_peak = max(self.hour_peak, self.hour)
        elif teach is Teach.SLOWLY and self.anchor is not None:
            self.hour_peak = _follow(self.hour_peak, self.hour, _BY_HOUR, self.anchor[0])
        self.hour = 0.0

    def day_over(self, teach: Teach) -> None:
        """A day is over."""
        if teach is Teach.ALL or (teach is Teach.SLOWLY and self.anchor is None):
            self.day_peak = max(self.day_peak, self.day)
        elif teach is Teach.SLOWLY and self.anchor is not None:
            self.day_peak = _follow(self.day_peak, self.day, _BY_DAY, self.anchor[1])
        self.day = 0.0

    def arm(self, hour_peak: float | None = None) -> None:
        """In the hour that begins, half as much again as ever is unusual."""
        unusual = limit(self.hour_peak if hour_peak is None else hour_peak, self.pad)
        self.hour_limit = min(self.bound, unusual)

    def arm_day(self) -> None:
        """The same of a day that begins."""
        self.day_limit = limit(self.day_peak, 2 * self.pad)

    def hold(self) -> None:
        """From now on the peaks are held near where they are."""
        self.anchor = (self.hour_peak, self.day_peak)


def _follow(peak: float, seen: float, step: float, anchor: float) -> float:
    """A locked peak follows slowly, to half as much again as its anchor and no further."""
    return peak if seen <= peak else max(peak, min(seen, peak * step, anchor * _FURTHEST))


_DOUBLINGS: Final = 0.5
"""So many doublings above the most there ever was are still usual."""


def limit(peak: float, pad: float) -> float:
    """From where on it is unusual, when ``peak`` was the most there ever was."""
    return float((peak + pad) * 2**_DOUBLINGS - pad)


def doublings(amount: float, peak: float, pad: float) -> float:
    """By how many doublings an amount is more than unusual."""
    return math.log2((amount + pad) / (peak + pad)) - _DOUBLINGS
