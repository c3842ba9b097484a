"""The life of a circuit breaker: one table of states, and why each verb leads where it does.

    closed --trip--> open --probe--> half-open --succeed--> closed
                      ^                  |
                      +------- fail -----+          reset: closed, from anywhere

What is not in the table cannot happen, and to ask for it is a fault of ours. Of an open breaker
nobody's success or failure counts but the probe's: calls that were under way when it opened tell
of a time that is over.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, TypeAlias

import msgspec

from portcullis.core.errors import Problem


class State(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    """Lets them through, and counts what becomes of them."""
    OPEN = "open"
    """Refuses them at once."""
    HALF_OPEN = "half_open"
    """Lets one through, the probe, and refuses the others until its end is known."""


class Verb(StrEnum):
    """What happens to a breaker. ``reset`` is an operator's; the others happen by themselves."""

    TRIP = "trip"
    PROBE = "probe"
    SUCCEED = "succeed"
    FAIL = "fail"
    RESET = "reset"


TRANSITIONS: Final[dict[tuple[State, Verb], State]] = {
    # Too much of what was counted went wrong, or somebody who counts something else says so.
    (State.CLOSED, Verb.TRIP): State.OPEN,
    # Nothing to close; what was counted is forgotten, which is what was asked for.
    (State.CLOSED, Verb.RESET): State.CLOSED,
    # Tripped again by what was still under way: it opened for one reason, and its time is not
    # moved on, or whoever has enough under way would keep it open.
    (State.OPEN, Verb.TRIP): State.OPEN,
    # Its time is over: one call may find out whether anything has changed.
    (State.OPEN, Verb.PROBE): State.HALF_OPEN,
    # An operator knows better.
    (State.OPEN, Verb.RESET): State.CLOSED,
    # The last probe ended without a word about what it was to find out (its caller left, it was
    # cut off), or does not end: the next one takes its place.
    (State.HALF_OPEN, Verb.PROBE): State.HALF_OPEN,
    # One good call is enough: what is wrong still will trip it again.
    (State.HALF_OPEN, Verb.SUCCEED): State.CLOSED,
    # Nothing has changed; it stays open for longer than before.
    (State.HALF_OPEN, Verb.FAIL): State.OPEN,
    # Somebody who counts something else says so while the probe is under way: its end no longer
    # matters.
    (State.HALF_OPEN, Verb.TRIP): State.OPEN,
    # An operator knows better than the probe, whatever its end.
    (State.HALF_OPEN, Verb.RESET): State.CLOSED,
}
"""What may follow what. ``probe`` takes also that the time ``until`` is over."""

Scope: TypeAlias = Literal["agent", "upstream"]
"""What is broken off: an agent from everything, or everybody from an upstream."""

TOLD: Final = {
    State.CLOSED: "breaker.close",
    State.OPEN: "breaker.open",
    State.HALF_OPEN: "breaker.half_open",
}
"""The method under which the arrival in a state stands in the log."""


def after(state: State, verb: Verb) -> State:
    """The state that ``verb`` leads to. Raises Problem PC9002 when it leads nowhere."""
    found = TRANSITIONS.get((state, verb))
    if found is None:
        raise Problem("PC9002", f"{verb} does not apply to a breaker that is {state}")
    return found


class Key(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Which breaker: an agent's, of which there is one for all gateways, or an upstream's.

    An upstream's is its ``gateway``'s own, since each has its own way to the upstream; with
    ``agent`` set it is for that one alone, of which the others notice nothing.
    """

    scope: Scope
    subject: str
    gateway: str = ""
    agent: str = ""

    @property
    def name(self) -> str:
        """What people call it: ``agent:NAME``, ``upstream:NAME``, ``upstream:NAME/AGENT``."""
        return f"{self.scope}:{self.subject}" + (f"/{self.agent}" if self.agent else "")


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that is not closed. Times are seconds since the epoch.

    ``since`` is when it came into its state, ``until`` when the next call may find out (of a
    half-open one: when its probe has taken too long). ``times`` is how often it has opened
    without having closed between, ``reason`` why it opened first, without content.
    """

    key: Key
    state: State
    reason: str
    since: float
    until: float
    times: int = 1
