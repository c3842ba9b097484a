"""How much of the gate the callers of the Workload API can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from portcullis.core.ports import Clock

_TELL_SECONDS: Final = 60.0
_MAX_USERS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Connections at once, in all and of one user; calls of one user; times in seconds.

    A user may make ``burst`` calls at once and ``calls_per_second`` for as long as he likes. A
    connection without a call in flight is closed after ``idle_seconds``, one that does not speak
    HTTP/2 after ``handshake_seconds``, one that takes in nothing any more after twice
    ``keepalive_seconds``. The entries' version is looked at every ``poll_seconds``. An attestation
    that takes longer than ``attest_seconds`` (the executable lies on a file system that does not
    answer) is a refusal.
    """

    connections: int = 256
    connections_per_user: int = 32
    streams_per_connection: int = 16
    calls_per_second: float = 50.0
    burst: int = 200
    idle_seconds: float = 300.0
    handshake_seconds: float = 5.0
    keepalive_seconds: float = 20.0
    poll_seconds: float = 1.0
    attest_seconds: float = 5.0


class Rates:
    """A token bucket per user id: nobody fills the log with refusals."""

    def __init__(self, bounds: Bounds, clock: Clock) -> None:
        self._rate = bounds.calls_per_second
        self._burst = float(bounds.burst)
        self._clock = clock
        self._left: dict[int, tuple[float, float]] = {}
        self._told: dict[int, float] = {}

    def take(self, uid: int) -> bool:
        """Whether the user may make another call now."""
        now = self._clock.monotonic()
        left, at = self._left.pop(uid, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        self._left[uid] = (left - 1.0 if left >= 1.0 else left, now)
        _forget(self._left)
        return left >= 1.0

    def tell(self, uid: int) -> bool:
        """Whether to record that the user is over a bound: once a minute."""
        now = self._clock.monotonic()
        if now - self._told.get(uid, -_TELL_SECONDS) < _TELL_SECONDS:
            return False
        self._told.pop(uid, None)
        self._told[uid] = now
        _forget(self._told)
        return True


def _forget(users: dict[int, Any]) -> None:
    """Keep the most recent ones."""
    if len(users) > _MAX_USERS:
        del users[next(iter(users))]
