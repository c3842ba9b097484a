"""The vocabulary of alerts: what a rule raises, how loud, and the life of what is raised.

An alert is open until somebody takes it on (acknowledged) and until it is over (resolved). What is
raised again within a while is the same alert, with a higher count. One that nobody takes on is told
to others. One whose rule says so is over when it was quiet for long enough, or an event says so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from portcullis.core.errors import Problem


class Level(StrEnum):
    """How much it matters, in Sigma's words, from the least to the highest."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


LEVELS: Final = {level: rank for rank, level in enumerate(Level)}
"""From the least to the highest level."""
EVIDENCE: Final = 10
"""Most events that an alert names."""
RAISED: Final = "alert.raised"
"""The method under which it stands in the log that there is an alert."""
ENDED: Final = "alert.ended"
"""The same: that what an alert is about is over, by its rule."""
ESCALATED: Final = "alert.escalated"
"""The same: that others are told, because nobody took it on."""
REREAD: Final = "alert.rules"
"""The same: that other rules are in force, or were refused."""
UNSILENCED: Final = "kept-silenced"
"""The rule about silences of what must not be missed: nothing silences that."""


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says of itself; ``kept`` as in ``oversight.alerts.rule.Rule``."""

    title: str
    advice: str = ""
    playbook: str = ""
    threat: str = ""
    kept: bool = False


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """A rule fired. It holds names and numbers of events, never content.

    ``group`` is what the rule counts by, such as ``{"principal": "helper-7"}``, in the rule's
    order: alerts of one rule and one group are one. ``hidden`` are those of its names whose values
    a caller may have chosen: operators see them, channels do not. ``at`` is the time of the event
    that made it so, in seconds since the epoch; ``events`` are ids of events behind it, the latest
    last, at most ``EVIDENCE``; ``count`` is how many there were. It is over when it was not raised
    for ``quiet`` seconds; 0 for not by itself.
    """

    rule: str
    level: Level
    words: Words
    group: dict[str, str]
    at: float
    events: tuple[str, ...]
    count: int = 1
    hidden: tuple[str, ...] = ()
    quiet: float = 0.0

    @property
    def subject(self) -> str:
        """Whom or what it is about, in one line: ``principal=helper-7, server=crm``."""
        return subject(self.group)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """By an event's id, that what a rule raised about a group until ``at`` is over."""

    rule: str
    group: dict[str, str]
    at: float
    event: str


Found: TypeAlias = Raised | Ended
"""What an event says to a rule."""


class State(StrEnum):
    """Where an alert is."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Verb(StrEnum):
    """What an operator does with it."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


_EDGES: Final = {
    (State.OPEN, Verb.ACKNOWLEDGE): State.ACKNOWLEDGED,  # somebody looks after it
    (State.OPEN, Verb.RESOLVE): State.RESOLVED,  # over before anybody had to
    (State.ACKNOWLEDGED, Verb.RESOLVE): State.RESOLVED,
}
"""All that can become of an alert. Nothing leads back: what happens again is another one."""


def after(state: State, verb: Verb) -> State:
    """The state after a verb. Raises Problem PC8021 where there is no such edge."""
    found = _EDGES.get((state, verb))
    if found is None:
        raise Problem("PC8021", f"it is {state}")
    return found


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What was raised, once or more often. Times are seconds since the epoch, 0 for never.

    ``opened_at`` is when it was written down, ``first_at`` and ``last_at`` are times of events;
    ``count`` is of events in all, ``events`` are the ids of the latest. ``turn`` counts what became
    of it. ``by`` and ``reason`` are of the last operator who did something, at ``settled_at``; what
    its rule ended has a reason and is by nobody. ``silence`` is the id of the silence because of
    which nobody was told; people have been since ``heard_at``, and ``escalated`` is how many steps
    were taken since. ``quiet`` is as in ``Raised``.
    """

    id: str
    rule: str
    level: Level
    words: Words
    group: dict[str, str]
    opened_at: float
    first_at: float
    last_at: float
    events: tuple[str, ...]
    count: int
    hidden: tuple[str, ...] = ()
    state: State = State.OPEN
    turn: int = 1
    by: str = ""
    reason: str = ""
    settled_at: float = 0.0
    silence: str = ""
    quiet: float = 0.0
    heard_at: float = 0.0
    escalated: int = 0

    @property
    def subject(self) -> str:
        """Whom or what it is about, in one line."""
        return subject(self.group)


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody is told of alerts of ``rule`` (a glob) whose group has all of ``matching``.

    Until a time, in seconds since the epoch. A rule that is ``kept`` has to be named exactly.
    """

    id: str
    rule: str
    matching: dict[str, str]
    made_at: float
    until: float
    by: str
    reason: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Who else is told of what nobody took on within ``after`` seconds: channels, by level."""

    after: float
    tell: dict[str, Level]

    def told(self, level: Level) -> tuple[str, ...]:
        """The channels that are told of an alert of this level."""
        return tuple(name for name, least in self.tell.items() if LEVELS[level] >= LEVELS[least])


class Hears(msgspec.Struct, frozen=True):
    """That a channel is told of alerts of ``least`` rank or higher after ``step`` escalations."""

    step: int
    least: int


UNRESOLVED: Final = (State.OPEN, State.ACKNOWLEDGED)
"""What somebody still has to do something about."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts: those in one of ``states``, of ``level`` or higher, and of one rule."""

    states: tuple[State, ...] = tuple(State)
    level: Level | None = None
    rule: str = ""


def subject(group: dict[str, str]) -> str:
    """What a group is, in one line: ``principal=helper-7, server=crm``."""
    return ", ".join(f"{name}={value}" for name, value in group.items())
