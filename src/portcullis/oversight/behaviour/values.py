"""Which values something has: tools, hosts, shapes, values of an argument, orders of two tools.

How surprising a new one is follows from how often the others came: where many came once, new ones
are to be expected; where each came again and again, none is (Good and Turing's idea). What counts
is in how many different hours a value came, so that one long session does not make it usual;
and, beside that, how many new values came at all, once the first days were over. Where an agent has
said little yet, what came to the others of its role says it.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

MOST: Final = 64
"""Most values of one thing; a thing with more is not told apart by its values."""
_CANDIDATES: Final = 32
_DAYS: Final = 3
"""On so many days a value has to come before a locked baseline takes it over."""
_EVER: Final = 0.02
"""How many new values of a closed thing one learning period brings, for no reason in the data."""
_MOST_COUNTED: Final = 12
_SETTLED: Final = 3
_OPEN: Final = 0.5
_BUSY: Final = 3.0
"""Where new ones come every other day, so many times more of them on one day are usual."""
_SURE: Final = 30
"""In so many hours a value came that it says nothing any more about new ones."""
_UNSEEN: Final = (
    1.0,
    *(count * math.exp(-count) / -math.expm1(-count) for count in range(1, _SURE)),
)
"""How many others there are that were not seen, for each that came so often."""
_PRIOR_DAYS: Final = 3.0
"""What comes to the others of a role weighs as much as so many days of an agent's own."""


class Novelty(msgspec.Struct, frozen=True):
    """How many new values of something come to an agent of a role a day, and the most on one."""

    rate: float = 0.0
    busiest: int = 1


UNKNOWN: Final = Novelty()
"""Of what no other agent has."""


class Values(msgspec.Struct):
    """The values of one thing. ``seen`` has hours and the last hour of each.

    ``waiting`` has what came since the baseline was locked: its days and the last one. ``closed``
    is False once there were too many values: then nothing is new, and nothing is kept. ``arrivals``
    counts what was new after the first days, ``busiest`` the most of it on one day; ``today`` is a
    day and how much was new on it, ``fresh`` what that was; ``opened`` is the day on which there
    were too many.
    """

    first: int
    seen: dict[str, list[int]] = {}
    waiting: dict[str, list[int]] = {}
    closed: bool = True
    taken: int = -1
    arrivals: int = 0
    busiest: int = 0
    today: tuple[int, int] = (-1, 0)
    fresh: list[str] = []
    opened: int = -1

    def learn(self, value: str, hour: int, most: int = MOST) -> None:
        """Take a new value over; of many on one day only half of what there is place for."""
        if not self.closed or (self.today[0] == hour // 24 and self.today[1] > most // 2):
            return
        if len(self.seen) >= most:
            self.closed = False
            self.opened = hour // 24
            self.seen, self.waiting = {}, {}
            return
        self.seen[value] = [1, hour]
        if hour // 24 >= self.first + _SETTLED:
            self.arrivals += 1
            self.busiest = max(self.busiest, self.today[1])

    def arrive(self, value: str, day: int) -> None:
        """A value came that is not usual; it is counted once."""
        if self.today[0] != day:
            self.today, self.fresh = (day, 0), []
        if value not in self.fresh:
            self.today = (day, self.today[1] + 1)
            if len(self.fresh) < _CANDIDATES:
                self.fresh.append(value)

    def wait(self, value: str, hour: int) -> None:
        """A new value of a locked baseline: it is taken over on its third day, one value a day."""
        day = hour // 24
        entry = self.waiting.get(value)
        if entry is None:
            if len(self.waiting) < _CANDIDATES:
                self.waiting[value] = [1, day]
            return
        if entry[1] != day:
            entry[0] += 1
            entry[1] = day
        if entry[0] >= _DAYS and self.taken != day:
            self.taken = day
            del self.waiting[value]
            self.learn(value, hour)

    def accept(self, hour: int) -> None:
        """A human says that what came since is usual, today as well."""
        self.today, self.fresh = (-1, 0), []
        for value in self.waiting:
            self.learn(value, hour)
        self.waiting = {}

    def expected(self, day: int) -> tuple[float, int]:
        """How many new ones days like those until now would bring, and how many days those are."""
        days = day - self.first + 1
        if not self.closed:
            return float(days), days
        hidden = 0.0
        for entry in self.seen.values():
            count = entry[0]
            if count < _SURE:
                hidden += _UNSEEN[count]
        return max(hidden, self.arrivals * days / max(1, days - _SETTLED)), days

    def surprise(self, day: int, others: Novelty = UNKNOWN) -> float:
        """How surprising it is that so many new ones came today, as ``unlikely`` says."""
        if not self.closed:
            return 0.0
        many = max(1, self.today[1] // max(1, self.busiest, others.busiest))
        days = day - self.first + 1
        if days < _SETTLED or (many == 1 and self.arrivals >= _OPEN * days):
            return 0.0
        came = self.expected(day)[0] + _EVER
        rate = max(came / days, (came + _PRIOR_DAYS * others.rate) / (days + _PRIOR_DAYS))
        if rate >= _OPEN:
            many = min(many, int(self.today[1] / (_BUSY * rate)))
        return unlikely(many, rate) if many > 1 or rate < _OPEN else 0.0


def unlikely(count: int, rate: float) -> float:
    """How unlikely so many are where ``rate`` is usual (Poisson): a decimal power, at most 5."""
    fewer, term = 0.0, math.exp(-rate)
    for index in range(min(count, _MOST_COUNTED)):
        fewer += term
        term *= rate / (index + 1)
    return min(5.0, -math.log10(max(1e-5, 1.0 - fewer)))
