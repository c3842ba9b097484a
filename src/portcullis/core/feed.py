"""The vocabulary of the kill feed: who can be cut off or isolated, and what is said over it.

The feed is monotonic: one publisher counts its updates, and every follower knows of each of them
or knows that it does not. A *cut* ends everything; an *isolation* leaves what policy's quarantine
allows. Both are said of a key, a scope and a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from portcullis.core.principal import PrincipalKind

CutScope: TypeAlias = Literal[
    "agent", "application", "operator", "session", "credential", "role", "all"
]
"""What can be cut off. ``role``: the agents that the policy in force gives it. ``all``: every
agent, application and user; the value is ``EVERYONE``."""
KillScope: TypeAlias = Literal["agent", "session", "role", "all"]
"""What ``portcullis kill`` takes."""
IsolationScope: TypeAlias = Literal["agent", "session"]
"""What can be isolated."""

EVERYONE: Final = "*"
"""The value of the scope ``all``."""
STOPPABLE: Final = frozenset({PrincipalKind.AGENT, PrincipalKind.APPLICATION, PrincipalKind.USER})
"""Whom ``all`` cuts off: operators have to act, and gateways have to obey them."""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What stands against one key: all of it, so that the last one said of a key is the truth.

    ``reason`` is why it is cut off, ``isolated`` why it is isolated, ``rotated`` the time before
    which its credentials were made worthless. When all are empty, nothing stands against it.
    """

    scope: str
    value: str
    reason: str = ""
    isolated: str = ""
    rotated: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """Of whom it is said."""
        return self.scope, self.value

    @property
    def empty(self) -> bool:
        """Whether nothing stands against it any more."""
        return not (self.reason or self.isolated or self.rotated)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A cut or an isolation as it is kept. Not ``durable``: only this process's memory has it."""

    scope: str
    value: str
    reason: str
    isolation: bool = False
    made_at: float = 0.0
    by: str = ""
    durable: bool = True


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """All that stands after update ``sequence`` of ``epoch``, for the follower that asked.

    ``nonce`` is the follower's own, so that nothing old can pass for it. ``at`` is the publisher's
    monotonic time, as in every frame of its: it grows with each. ``format`` is that of what the
    processes of a deployment say to each other (``core.formats``).
    """

    epoch: str
    sequence: int
    at: float
    to: str
    nonce: bytes
    standings: tuple[Standing, ...]
    format: int = 1


class Update(msgspec.Struct, frozen=True, tag="update"):
    """What changed: the ``sequence``-th update of this epoch."""

    epoch: str
    sequence: int
    at: float
    standings: tuple[Standing, ...]
    format: int = 1


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """Nothing changed since update ``sequence``."""

    epoch: str
    sequence: int
    at: float
    format: int = 1


Said: TypeAlias = Snapshot | Update | Heartbeat
"""What the publisher says. An epoch is one publisher's life: see ``epoch_of``."""


def epoch_of(term: int, life: str) -> str:
    """What a publisher calls its life. ``term`` is later than that of whoever ruled before it."""
    return f"{term:016x}-{life}"


def term_of(epoch: str) -> int:
    """The term in an epoch; 0 in those that older versions make."""
    term, found, _ = epoch.partition("-")
    return int(term, 16) if found else 0


class LastSnapshot(msgspec.Struct, frozen=True):
    """What a gateway knew when it last heard of its publisher, for when it starts again.

    It is good for the gateway of that name, on the machine since it booted (``boot``) and for
    ``lease`` seconds after ``heard``, when the frame was made that said ``at`` and was the
    ``sequence``-th update's of ``epoch`` or a heartbeat after it. ``heard`` is by a clock that
    nobody sets and that goes on while the machine sleeps.
    """

    gateway: str
    boot: str
    heard: float
    lease: float
    epoch: str
    sequence: int
    at: float
    standings: tuple[Standing, ...]
    format: int = 1


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A follower wants a snapshot."""

    gateway: str
    nonce: bytes


class Present(msgspec.Struct, frozen=True, tag="present"):
    """A follower lives and has update ``sequence``. ``leaving``: it ends in good order.

    ``at`` is the publisher's own time in the last frame that was good, so that the publisher knows
    when this was said.
    """

    gateway: str
    epoch: str
    sequence: int
    at: float
    leaving: bool = False


class Acknowledgement(msgspec.Struct, frozen=True, tag="acknowledgement"):
    """A follower acted on update ``sequence``: nothing more is forwarded for who it names.

    ``runs`` calls and ``connections`` were ended, ``milliseconds`` after it had the frame.
    """

    gateway: str
    epoch: str
    sequence: int
    runs: int
    connections: int
    milliseconds: float


Answered: TypeAlias = Ask | Present | Acknowledgement
"""What a follower says."""


class Swept(msgspec.Struct, frozen=True):
    """How many calls and connections a gateway has ended because of the feed, so far."""

    runs: int = 0
    connections: int = 0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one gateway made of an update.

    ``acknowledged`` is after how many milliseconds the publisher knew that it acted; None when it
    did not say so. Then it fails closed ``within`` so many seconds, 0 when it does already.
    ``own`` are the gateway's own milliseconds.
    """

    gateway: str
    acknowledged: float | None
    runs: int = 0
    connections: int = 0
    own: float = 0.0
    within: float = 0.0


class Rule(Protocol):
    """Being the one process that rules a deployment."""

    def begin(self) -> int:
        """Begin to publish: a term that is later than any before. It blocks."""
        ...

    async def keep(self) -> None:
        """Hold on to it; return when another process rules."""


class Relay(Protocol):
    """What takes the feed's changes to other processes.

    ``publish`` returns at once and never raises; ``acknowledged`` waits, ``seconds`` at most,
    until every gateway has acted on all that was published so far, and says who did.
    """

    def publish(self, standings: Sequence[Standing]) -> None:
        """Take these to every follower."""

    async def acknowledged(self, seconds: float) -> tuple[Told, ...]:
        """What each known gateway made of all that was published."""
        ...
