"""What the logs say that evidence needs, folded in one pass into a value of bounded size.

Facts hold no event but names of events: number, id, time, who and what. They can be written
down, and folding goes on from there; they can be made anew from the log at any time. Whatever is
counted is bounded; what is full is named in ``full``, and conditions that need it say so.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Final, NamedTuple

import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]

MAX_KINDS: Final = 2048
"""Most kinds of events that are counted apart."""
MAX_NAMES: Final = 8192
"""Most principals, and most tools, that are known by name."""
MAX_OPEN: Final = 16_384
"""Most decisions whose result is awaited; the oldest are forgotten for newer ones."""
UNANSWERED: Final = timedelta(days=1)
"""How long an action may run before its result is missing."""
MAX_TEXT: Final = 100
"""Longest name that is kept of a principal, an owner, a tool or a method, in characters."""
REVISION: Final = 6
"""Facts of another revision are not continued."""


def named(name: str) -> str:
    """A name as facts keep it: one that is too long ends in a digest, and so stays apart."""
    if len(name) <= MAX_TEXT:
        return name
    digest = sha256(name.encode()).hexdigest()[:32]
    return f"{name[: MAX_TEXT - 1 - len(digest)]}~{digest}"


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Which event: its number in its log, id, time, who acted and on what, the log's name."""

    index: int
    id: str
    time: Time
    who: str = ""
    what: str = ""
    log: str = ""

    def before(self, other: Mark) -> bool:
        """Whether it comes before another: in one log by number, in different ones by time."""
        if self.log == other.log:
            return self.index < other.index
        return (self.time, self.log) < (other.time, other.log)


class Tally(msgspec.Struct, frozen=True):
    """How often something happened, the first time and the last."""

    count: int
    first: Mark
    last: Mark

    def and_also(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.count + other.count,
            other.first if other.first.before(self.first) else self.first,
            other.last if self.last.before(other.last) else self.last,
        )


class Kind(NamedTuple):
    """What distinguishes events that are counted apart.

    ``method`` is that of an ``admin`` or ``identity`` event, ``treatments`` what was done with
    what inspection found (``block+mask``), ``session`` whether it was within one.
    """

    type: str
    verdict: str
    code: str
    method: str
    principal: str
    treatments: str
    session: bool


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A principal as the log knows it.

    ``created`` is None for one that acted and was never registered, ``acted`` is its first call
    that was allowed, ``changed`` the event that brought it into ``state``. ``review_at`` is in
    seconds since the epoch, 0 for never.
    """

    created: Mark | None = None
    acted: Mark | None = None
    changed: Mark | None = None
    state: str = "active"
    owner: str = ""
    purpose: str = ""
    review_at: float = 0.0


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """What is so of one log: its first ``size`` entries were folded.

    ``tail`` is the leaf hash of the last of them, ``pruned`` how many were gone by then,
    ``pruned_to`` up to which time (seconds since the epoch) some were, and which event says so.
    ``newest`` is the latest time that an event states, ``certificate`` the last event that says
    that its writer got one of its own.
    """

    origin: str
    size: int = 0
    tail: bytes = b""
    pruned: int = 0
    pruned_to: tuple[float, Mark] | None = None
    first: Mark | None = None
    last: Mark | None = None
    newest: Time | None = None
    certificate: Mark | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's logs, each up to its position, folded into one; ``origin`` is who rules.

    ``breaches`` are what should not happen, by the names of ``Breach``. Principals are keyed
    ``kind:id``, tools ``server.name``; ``approved`` are the tools that an operator approved,
    ``pinned`` those that a server was first seen to offer. ``waiting`` are allowed decisions
    without a result, by id; ``forgotten`` are those that were too many to remember and had none
    yet, less the results since that may be theirs. ``erasing`` are erasures that began and are not
    complete, by the subject's tag. ``announced`` are the gaps that the log calls open,
    ``packages`` the evidence packages of each framework, ``started`` the gateways that a control
    plane says it started. ``latest`` are the last allowed calls of principals, ``late`` counts what
    was learned of one after later calls of his were judged, in another log: facts that are folded
    anew may say more.
    """

    origin: str
    revision: int = REVISION
    logs: dict[str, Position] = {}
    kinds: tuple[tuple[Kind, Tally], ...] = ()
    breaches: dict[str, Tally] = {}
    principals: dict[str, Holder] = {}
    tools: dict[str, Tally] = {}
    pinned: dict[str, Mark] = {}
    approved: dict[str, Mark] = {}
    waiting: dict[str, Mark] = {}
    forgotten: Tally | None = None
    erasing: dict[str, Mark] = {}
    announced: dict[str, Mark] = {}
    packages: dict[str, Mark] = {}
    started: dict[str, Mark] = {}
    latest: dict[str, Mark] = {}
    late: int = 0
    full: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """How many entries of all logs were folded."""
        return sum(one.size for one in self.logs.values())

    @property
    def first(self) -> Mark | None:
        """The earliest event that was counted, by its time."""
        found = (one.first for one in self.logs.values() if one.first)
        return min(found, key=lambda mark: mark.time, default=None)

    @property
    def last(self) -> Mark | None:
        """The latest event that was counted, by its time."""
        found = (one.last for one in self.logs.values() if one.last)
        return max(found, key=lambda mark: mark.time, default=None)

    @property
    def newest(self) -> datetime | None:
        """The latest time that an event states."""
        return max((one.newest for one in self.logs.values() if one.newest), default=None)


class Breach:
    """What the fold notices and that should not happen."""

    NO_DECISION: Final = "result-without-decision"
    CUT_OFF: Final = "acted-while-cut-off"
    INCOMPLETE: Final = "incomplete-record"
    CLOCK: Final = "clock-went-back"
    FOREIGN: Final = "foreign-event"
