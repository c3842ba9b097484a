"""The words of limits: how often, how much, how long, how many at once, and for whom.

Amounts are whole numbers: tokens, rows, bytes, and of money millionths of a US dollar (the price
source's currency; a deployment has one). Times are seconds since the epoch.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from portcullis.core.behaviour import LEVELS, RiskLevel
from portcullis.core.limit_told import Measure

MICROS: Final = 1_000_000
"""Millionths in a second, and in a dollar."""
MOST: Final = 2**53 - 1
"""The highest amount: from here on not every number is exact in every store."""


MODEL: Final = frozenset({Measure.INPUT, Measure.OUTPUT, Measure.TOKENS, Measure.COST})
"""The measures of model calls."""
DATA: Final = frozenset({Measure.ROWS, Measure.BYTES})
"""The measures of what comes back."""


class Window(StrEnum):
    """The time that an amount is for. Minute, hour, day and month are the calendar's, in UTC.

    They are fixed, not sliding: a day's budget is whole again at midnight UTC, a month's on the
    first. ``session`` is from a session's opening to its end.
    """

    SESSION = "session"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Dimension(StrEnum):
    """What a limit is counted by, each on its own. ``all`` is one count for everybody."""

    AGENT = "agent"
    ROLE = "role"
    SESSION = "session"
    USER = "user"
    APPLICATION = "application"
    TOOL = "tool"
    MODEL = "model"
    SERVER = "server"
    ALL = "all"


def fits(glob: str, name: str) -> bool:
    """Whether a name fits a glob, in which only ``*`` is special.

    In time that grows with the name's length alone: agents choose names.
    """
    head, *middle = glob.split("*")
    if not middle:
        return glob == name
    tail = middle.pop()
    at, end = len(head), len(name) - len(tail)
    if at > end or not name.startswith(head) or not name.endswith(tail):
        return False
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """``count`` calls in ``seconds``, evenly (GCRA), of which ``burst`` may come at once."""

    count: int
    seconds: int
    burst: int


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``amount`` of a measure in each window."""

    measure: Measure
    window: Window
    amount: int


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One named limit of the policy, for the calls that fit ``where``, counted by ``per``.

    ``where`` has globs for each dimension that it names: a call fits that fits one of each.
    ``burn`` is how many times the even pace of its month's cost an agent may spend at over an hour.
    ``risk`` is the factor by which all of it is less from a level of risk on. ``place`` is
    where the policy says so.
    """

    name: str
    place: str
    where: dict[Dimension, tuple[str, ...]] = {}
    per: tuple[Dimension, ...] = (Dimension.AGENT,)
    requests: Requests | None = None
    ceilings: tuple[Ceiling, ...] = ()
    concurrency: int | None = None
    session_seconds: int | None = None
    burn: float | None = None
    risk: dict[RiskLevel, float] = {}

    def factor(self, level: RiskLevel) -> float:
        """What is left of the limit at a level of risk: the least factor up to there."""
        if not self.risk:
            return 1.0
        return min(
            (one for at, one in self.risk.items() if LEVELS[at] <= LEVELS[level]), default=1.0
        )

    def named(self, dimension: Dimension, value: str) -> bool:
        """Whether it is for a name; one that says nothing of its kind is for all."""
        globs = self.where.get(dimension)
        return globs is None or any(fits(glob, value) for glob in globs)

    @property
    def own(self) -> bool:
        """Whether nobody else's usage shows in what is left of it."""
        return Dimension.AGENT in self.per or Dimension.SESSION in self.per

    @property
    def counted(self) -> bool:
        """Whether anything of it needs a count."""
        return bool(self.requests or self.ceilings or self.concurrency is not None)

    @property
    def costs(self) -> bool:
        """Whether it needs prices."""
        return any(one.measure is Measure.COST for one in self.ceilings)


class Rate(msgspec.Struct, frozen=True):
    """Wanted: one call of a rate. ``interval`` is between two, in microseconds."""

    key: str
    interval: int
    burst: int


class Amount(msgspec.Struct, frozen=True):
    """Wanted: so much of what is left below ``ceiling`` until ``ends_at``.

    Of an amount that is not known yet, 0: granted where anything is left.
    """

    key: str
    amount: int
    ceiling: int
    ends_at: float


class Slot(msgspec.Struct, frozen=True):
    """Wanted: one of ``ceiling`` places."""

    key: str
    ceiling: int


Want: TypeAlias = Rate | Amount | Slot


class State(msgspec.Struct, frozen=True):
    """How it stands with what was wanted: what is left, and when it is whole (or free) again."""

    left: int
    resets_at: float


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """All that was wanted, granted. ``states`` are in the order of ``wants``."""

    id: str
    wants: tuple[Want, ...]
    states: tuple[State, ...]


class Over(msgspec.Struct, frozen=True):
    """Nothing was taken: of the want ``which`` there is not enough, until ``resets_at``."""

    which: int
    resets_at: float


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """One count as it stands. ``kind`` is ``amount``, ``rate`` or ``slots``.

    ``value`` is what was used; of a rate, the theoretical arrival time in microseconds.
    """

    key: str
    kind: str
    value: int
    ends_at: float


def span(window: Window, now: float) -> tuple[float, float]:
    """When the calendar's window that holds ``now`` began and ends. Not for a session's."""
    at = datetime.fromtimestamp(now, UTC)
    match window:
        case Window.MINUTE | Window.HOUR | Window.DAY:
            length = {Window.MINUTE: 60, Window.HOUR: 3600, Window.DAY: 86400}[window]
            start = now - now % length
            return start, start + length
        case _:
            first = datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()
            days = calendar.monthrange(at.year, at.month)[1]
            return first, first + days * 86400
