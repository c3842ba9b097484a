"""The port that takes frames from one publisher to many followers, and their answers back.

A fan-out carries bytes and promises little: frames to one follower come in the order in which they
were sent or not at all, and nothing waits for anybody. It may lose frames, and it may be somebody
else's: whoever uses it counts and authenticates what it carries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

MAX_FRAME: Final = 16 * 2**20
"""The longest frame, in bytes."""
MAX_WAITING: Final = 32 * 2**20
"""Bytes that wait for a follower which does not read, before it is dropped."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to connect."""

Heard: TypeAlias = Callable[[bytes], None]
"""Is called on the loop with each frame."""


class Hub(Protocol):
    """The publisher's end; one in a deployment.

    ``send`` returns at once and never raises: to every follower, or to the one of that name. A
    follower that does not read is dropped; it joins again when it can. ``open`` raises Problem
    PC4005 when it cannot begin, as when another publisher is there; then ``run`` serves until it
    is cancelled, and ``heard`` is called with what followers say.
    """

    async def open(self) -> None:
        """Begin to be there."""

    async def run(self, heard: Heard) -> None:
        """Serve until cancelled."""

    def send(self, frame: bytes, to: str = "") -> None:
        """Send to all, or to one."""


class Line(Protocol):
    """A follower's end. ``name`` is its own among all followers.

    ``run`` joins, and joins again whenever it was lost, until it is cancelled: ``joined`` is
    called each time, ``heard`` with each frame. ``send`` is for the publisher; what is sent while
    the line is down is lost.
    """

    async def run(self, heard: Heard, joined: Callable[[], None]) -> None:
        """Follow until cancelled."""

    def send(self, frame: bytes) -> None:
        """Say something to the publisher."""
