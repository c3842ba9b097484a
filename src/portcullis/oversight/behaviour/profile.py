"""All that is known of one agent: what is usual, what there is now, and what was unusual lately."""

from __future__ import annotations

from typing import Final

import msgspec

from portcullis.core.behaviour import Kind, Phase
from portcullis.oversight.behaviour.amounts import Count, Size
from portcullis.oversight.behaviour.distinct import Distinct
from portcullis.oversight.behaviour.values import Values

MOST_FACETS: Final = 256
MOST_SIZES: Final = 192
MOST_COUNTS: Final = 128
MOST_TOTALS: Final = 64
MOST_SESSIONS: Final = 64
MOST_EPISODES: Final = 48
MOST_SUSPECTS: Final = 256
"""What one agent's profile holds at most of each: an agent cannot make it larger by new names."""
OF_ARGUMENTS: Final = 0.5
"""The share of that for arguments, whose names may be the caller's: what is left is for tools."""
HOUR: Final = 3600
_MONDAY: Final = 3
_SATURDAY: Final = 5
WEEK: Final = 7


def kind_of_day(day: int) -> int:
    """0 for a working day, 1 for Saturday and Sunday; ``day`` is days since the epoch, in UTC."""
    return int((day + _MONDAY) % WEEK >= _SATURDAY)


class Talk(msgspec.Struct):
    """A session as it goes: its last two tools, where it came from, whether it is suspicious."""

    last: str = ""
    before: str = ""
    host: str = ""
    credential: str = ""
    suspicious: bool = False


class Episode(msgspec.Struct):
    """Something unusual that goes on: ``base`` is its strongest moment, ``weight`` as of ``at``."""

    kind: Kind
    subject: str
    seen: str
    usual: str
    base: float
    weight: float
    at: float
    count: int = 1
    recent: float = 1.0


class Total(msgspec.Struct):
    """What the days came to, by kind of day, as logarithms; and how far they crept upward.

    ``short`` are the last days whatever they taught, ``middle`` is median and spread by kind of
    day; ``anchor`` is the median, by kind of day, when the baseline was locked.
    """

    days: tuple[list[float], list[float]] = msgspec.field(default_factory=lambda: ([], []))
    short: tuple[list[float], list[float]] = msgspec.field(default_factory=lambda: ([], []))
    crept: float = 0.0
    furthest: float = 0.0
    said: float = 0.0
    middle: list[tuple[float, float] | None] = msgspec.field(default_factory=lambda: [None, None])
    anchor: list[float | None] = msgspec.field(default_factory=lambda: [None, None])


class Burst(msgspec.Struct):
    """The calls of some minutes, and the most there ever were in as many."""

    window: int = -1
    count: int = 0
    peak: int = 0
    limit: float = 0.0


class Profile(msgspec.Struct):
    """The state of one agent. Times are seconds since the epoch; hours and days count from it."""

    agent: str
    role: str = ""
    phase: Phase = Phase.LEARNING
    turn: int = 0
    first: float = 0.0
    last: float = 0.0
    events: int = 0
    days: int = 0
    day: int = -1
    hour: int = -1
    facets: dict[str, Values] = {}
    sizes: dict[str, Size] = {}
    counts: dict[str, Count] = {}
    totals: dict[str, Total] = {}
    active: list[int] = msgspec.field(default_factory=lambda: [0] * 48)
    active_days: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    late: list[int] = msgspec.field(default_factory=lambda: [0] * 48)
    calls_by_hour: list[float] = msgspec.field(default_factory=lambda: [0.0] * 48)
    odd_hour: bool = False
    odd_points: float = 0.0
    shares: dict[str, list[float]] = {}
    session_ids: Distinct = msgspec.field(default_factory=Distinct)
    sessions: dict[str, Talk] = {}
    suspects: dict[str, float] = {}
    wary_until: float = 0.0
    credentials: dict[str, str] = {}
    burst: Burst = msgspec.field(default_factory=Burst)
    order_mean: float = 0.0
    order_size: Size = msgspec.field(default_factory=Size)
    episodes: dict[str, Episode] = {}
    usual: dict[str, float] = {}
    today: dict[str, float] = {}
    past: list[dict[str, float]] = []
    disturbed: bool = False
    score: float = 0.0
    scored_at: float = 0.0

    def facet(self, name: str, share: float = 1.0) -> Values | None:
        """The values of something; None when this share of the places is taken already."""
        found = self.facets.get(name)
        if found is None and len(self.facets) < share * MOST_FACETS:
            found = self.facets[name] = Values(self.day)
        return found

    def size(self, name: str, share: float = 1.0) -> Size | None:
        """The size of something; None when this share of the places is taken already."""
        found = self.sizes.get(name)
        if found is None and len(self.sizes) < share * MOST_SIZES:
            found = self.sizes[name] = Size()
        return found

    def suspect(self, session: str, at: float) -> None:
        """From now on a session teaches nothing; nor does for a while one that has no name.

        Those are told apart from ``sessions``, which whoever opens others can make forget.
        """
        if session:
            self.suspects.pop(session, None)
            self.suspects[session] = at
        if not session or len(self.suspects) > MOST_SUSPECTS:
            self.wary_until = at + HOUR
        if len(self.suspects) > MOST_SUSPECTS:
            del self.suspects[next(iter(self.suspects))]

    def suspected(self, session: str, at: float) -> bool:
        """Whether nothing is learned from a session, or from the agent, for now."""
        return at < self.wary_until or session in self.suspects

    def count(self, name: str, pad: float, bound: float) -> Count | None:
        """A new count of something; None when there are too many counts already."""
        if len(self.counts) >= MOST_COUNTS:
            return None
        found = self.counts[name] = Count(pad, self.day, bound, hour_limit=bound)
        return found

    def talk(self, session: str) -> Talk:
        """A session; the ones that were silent longest are forgotten."""
        found = self.sessions.pop(session, None) or Talk()
        self.sessions[session] = found
        if len(self.sessions) > MOST_SESSIONS:
            del self.sessions[next(iter(self.sessions))]
        return found
