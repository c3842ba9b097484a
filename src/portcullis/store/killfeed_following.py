"""What a follower makes of the publisher's frames: which count, and until when it is fresh. Pure.

    nothing known --snapshot it asked for--> in step --update n+1--> in step
    in step --an update is missing--> nothing known (it asks for a snapshot)
    in step --the lease is over--> stale, but in step: the next good frame makes it fresh

A frame is good when it is of the epoch it is in step with, and was made after the last one. Those
of an epoch of a later term change nothing yet: it asks, and the publisher answers. Publishers of
another epoch that do not rule since (``core.feed``) are refused for good, and so is what a snapshot
leaves out that is known to be there: none of it takes a cut back. How old a frame is,
it computes: a snapshot answers a question of its own, so that the publisher's clock read ``at`` no
earlier than when the question left. What is delayed on the way is therefore as old as it is.
An answer that took long says little: the best of the last few counts, less what clocks may drift.
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum
from typing import Final

from portcullis.core.feed import Heartbeat, Said, Snapshot, Standing, Update, term_of

_ASKED: Final = 8
"""How many questions may be open: an answer that is late is an answer."""
_BOUNDS: Final = 4
"""Answers of which the best says how the two clocks stand. All are forgotten after as many more: a
machine that was stopped may have a clock that was, too."""
_DRIFT: Final = 0.001
"""By how much one clock may outrun the other: twice what adjusting one may do (adjtimex(2))."""
_DOUBT: Final = 0.125
"""The part of a lease that an answer may cost; after a slower one it is asked again soon."""


class Made(StrEnum):
    """What a frame came to.

    WHOLE: all that stands was replaced. CHANGED: something changed. FRESH: nothing did.
    MISSED: an update is missing. UNKNOWN: it is of a publisher it is not in step with.
    REFUSED: it is old, or not for us.
    """

    WHOLE = "whole"
    CHANGED = "changed"
    FRESH = "fresh"
    MISSED = "missed"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class Following:
    """The state of one follower. Times are its own monotonic seconds.

    ``at`` is the publisher's time in the latest good frame, 0 before there is one.
    ``doubtful``: the last answer took so long that it should ask again soon.
    """

    def __init__(self, name: str, lease_seconds: float) -> None:
        self._name = name
        self._lease = lease_seconds * (1.0 - _DRIFT)
        self._latest = ("", 0)  # the last epoch that was heard of, and its last update
        self._asked: dict[bytes, float] = {}
        self._bounds: deque[tuple[float, float]] = deque(maxlen=_BOUNDS)
        self._origin = 0.0  # ours minus the publisher's, at the least
        self.doubtful = False
        self.at = 0.0
        self._in_step = False
        self.epoch = ""
        self.sequence = 0

    @property
    def fresh_until(self) -> float:
        """When it becomes stale, unless it hears more; long ago while it is in step with nobody."""
        return self.at + self._origin + self._lease if self._in_step else -math.inf

    def ask(self, nonce: bytes, now: float) -> None:
        """A question for a snapshot leaves now."""
        self._asked[nonce] = now
        while len(self._asked) > _ASKED:
            del self._asked[next(iter(self._asked))]

    def resume(self, epoch: str, sequence: int, at: float, heard: float) -> None:
        """Go on where it was when the publisher's time was ``at``, which was here ``heard``.

        To be in step is to know all that was published up to then: whoever calls this has it. What
        the publisher says from now on is good, or something is missing, as ever.
        """
        self.epoch, self.sequence, self.at = epoch, sequence, at
        self._latest = epoch, sequence
        self._origin = heard - at
        self._bounds.append((at, self._origin))
        self._in_step = True

    @property
    def heard(self) -> float | None:
        """When the latest good frame was made, at the earliest; None while it is not in step."""
        return self.at + self._origin if self._in_step else None

    def hear(self, frame: Said) -> Made:
        """Take the next authentic frame."""
        if self._outranked(frame.epoch):
            return Made.REFUSED
        latest, sequence = self._latest
        same = frame.epoch == latest
        self._latest = frame.epoch, max(sequence, frame.sequence) if same else frame.sequence
        if isinstance(frame, Snapshot):
            return self._whole(frame)
        return self._next(frame)

    def _next(self, frame: Update | Heartbeat) -> Made:
        if not self._in_step or frame.epoch != self.epoch:
            return Made.UNKNOWN
        updates = isinstance(frame, Update)
        expected = self.sequence + 1 if updates else self.sequence
        if frame.at <= self.at or frame.sequence < expected:
            return Made.REFUSED
        if frame.sequence > expected:
            self._in_step = False
            return Made.MISSED
        self._good(frame)
        return Made.CHANGED if updates else Made.FRESH

    def _whole(self, frame: Snapshot) -> Made:
        asked = self._asked.pop(frame.nonce, None)
        if asked is None or frame.to != self._name:
            return Made.REFUSED
        same = self._in_step and frame.epoch == self.epoch and frame.sequence == self.sequence
        if frame.sequence < self._latest[1]:
            return Made.REFUSED  # more has come since, or is missing
        self._asked = {nonce: at for nonce, at in self._asked.items() if at > asked}
        self._in_step = True
        if frame.epoch != self.epoch:
            self.at = 0.0
            self._bounds.clear()
        self.epoch = frame.epoch
        self._compare(asked, frame.at)
        self._good(frame)
        return Made.FRESH if same else Made.WHOLE

    def _outranked(self, epoch: str) -> bool:
        """Whether a publisher is not to be heard: another rules since, or as long."""
        latest = self._latest[0]
        known = term_of(latest)
        return bool(known) and epoch != latest and term_of(epoch) <= known

    def _compare(self, asked: float, at: float) -> None:
        """Take what one answer says of the two clocks."""
        found = asked - at
        self._bounds.append((at, found))
        self._origin = max(bound - _DRIFT * abs(at - then) for then, bound in self._bounds)
        self.doubtful = found < self._origin - _DOUBT * self._lease

    def _good(self, frame: Said) -> None:
        self.at = max(self.at, frame.at)
        self.sequence = frame.sequence


def changed(frame: Said) -> tuple[Standing, ...]:
    """What a frame says of anybody."""
    return () if isinstance(frame, Heartbeat) else frame.standings
