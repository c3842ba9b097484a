"""A small drawing of what an agent asked for: bars of an inline SVG, made here and not by a script.

The content security policy knows no inline styles, so that all of it is attributes and classes of
the style sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from portcullis.core.desk import Course, Step

WIDTH: Final = 336
"""Of the drawing, in its own units; it is as wide as its place."""
HEIGHT: Final = 48
_GAP: Final = 2
_LEAST: Final = 2.0
"""How high a bar of one call is at least: nothing that happened is invisible."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of time: where its bar stands, how high it is, and the part that was refused.

    ``known``: it was counted. Of one that was not, or only in part, there is no bar.
    """

    step: Step
    x: float
    width: float
    height: float
    refused: float
    known: bool


@dataclass(frozen=True, slots=True)
class Sparkline:
    """The drawing, and what it says in words."""

    bars: tuple[Bar, ...]
    calls: int
    refused: int
    most: int
    hours: float
    known: float
    whole: bool

    @classmethod
    def of(cls, course: Course) -> Sparkline:
        """The drawing of a course."""
        steps, place = course.steps, WIDTH / max(len(course.steps), 1)
        counted = [one for one in steps if one.at >= course.known]
        most = max((one.calls for one in counted), default=0)
        bars = tuple(
            Bar(
                step=one,
                x=round(number * place, 2),
                width=round(place - _GAP, 2),
                height=_height(one.calls, most),
                refused=_height(one.refused, most),
                known=one.at >= course.known,
            )
            for number, one in enumerate(steps)
        )
        return cls(
            bars=bars,
            calls=sum(one.calls for one in steps),
            refused=sum(one.refused for one in steps),
            most=most,
            hours=course.seconds / 3600,
            known=course.known,
            whole=len(counted) == len(steps),
        )


def _height(count: int, most: int) -> float:
    return round(max(HEIGHT * count / most, _LEAST), 2) if count and most else 0.0
