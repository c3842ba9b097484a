"""Which hosts were reached lately: their clients are told to go ahead a little earlier.

A CONNECT is answered when the host is connected, so that whoever asks for one that is not there is
told why. For one that was reached just now the answer goes while the record is being written, and
the client makes its ClientHello in the meantime. Nothing of it goes on before the record is durable
and the address judged anew. Should the host be gone after all, the tunnel ends; the next is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from portcullis.core.egress import Destination

LATELY: Final = 60.0
"""Seconds."""
_MOST: Final = 4096


class Reached:
    """By agent: what one has reached tells another nothing. ``now`` is a monotonic clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._at: dict[tuple[str, Destination], float] = {}

    def lately(self, agent: str, where: Destination) -> bool:
        """Whether the last attempt was a success, and not long ago."""
        at = self._at.get((agent, where))
        return at is not None and self._now() - at < LATELY

    def note(self, agent: str, where: Destination) -> None:
        """It was reached."""
        self._at.pop((agent, where), None)  # to the end, as the newest
        if len(self._at) >= _MOST:
            del self._at[next(iter(self._at))]
        self._at[agent, where] = self._now()

    def forget(self, agent: str, where: Destination) -> None:
        """It was not."""
        self._at.pop((agent, where), None)
