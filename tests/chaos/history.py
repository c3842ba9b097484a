"""What is known of a storm from outside: what clients saw, what the upstream got, what logs say.

Times are seconds of the machine's monotonic clock, which no fault changes. Clients choose a call's
``mark``, its trace id, which the log has; and its ``text``, which the upstream gets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LOST = "lost"
"""In place of a code: the connection broke off, or nobody answered it."""
HANGS = "hangs"
"""In place of a code: there was no end of it within the bound."""


@dataclass(frozen=True)
class Asked:
    """A client's call, and how it ended: "" for an answer, else a code."""

    mark: str
    text: str
    kind: str
    session: str
    agent: str
    gateway: str
    began: float
    ended: float
    code: str


@dataclass(frozen=True)
class Received:
    """A call that reached the upstream, and the ``tokens`` that it took."""

    text: str
    kind: str
    at: float
    tokens: int = 0


@dataclass(frozen=True)
class Streamed:
    """An answer that came in pieces: when it was asked for, and when the last piece came."""

    session: str
    agent: str
    gateway: str
    began: float
    last: float


@dataclass(frozen=True)
class Decided:
    """A decision that is in a log."""

    mark: str
    log: str
    verdict: str


@dataclass(frozen=True)
class Killed:
    """An agent or a session was killed, and whoever said so was told that it acts."""

    scope: str
    value: str
    at: float


@dataclass(frozen=True)
class Approved:
    """One call was approved; ``text`` is what only this call says."""

    approval: str
    text: str


@dataclass(frozen=True)
class Consumed:
    """A log says that an approval was used up."""

    approval: str
    log: str


@dataclass(frozen=True)
class Budget:
    """What a session may have received upstream, in calls of ``kind`` or in their tokens."""

    session: str
    kind: str
    unit: str
    most: int


@dataclass(frozen=True)
class Verified:
    """How a copy of a log was found."""

    log: str
    ok: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Served:
    """After how many seconds a gateway served again; None for not at all."""

    gateway: str
    fault: str
    seconds: float | None


@dataclass(frozen=True)
class Fault:
    """A fault's time: from when it was there to when it was over. ``proof`` is how one saw it."""

    kinds: tuple[str, ...]
    began: float
    ended: float
    proof: tuple[str, ...]


@dataclass(frozen=True)
class Bounds:
    """What is promised. ``lag`` is how late this process may have noticed something."""

    lease: float = 1.0
    lag: float = 0.5
    answer: float = 40.0
    serves: float = 60.0


@dataclass
class History:
    bounds: Bounds = field(default_factory=Bounds)
    asked: list[Asked] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    streamed: list[Streamed] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    killed: list[Killed] = field(default_factory=list)
    approved: list[Approved] = field(default_factory=list)
    consumed: list[Consumed] = field(default_factory=list)
    budgets: list[Budget] = field(default_factory=list)
    verified: list[Verified] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    """Gateways whose process ended meanwhile, whatever ended it."""
