"""What is evaluated, and what a condition can say of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from portcullis.review.deployment import Deployment
from portcullis.review.facts import Facts, Mark

RECENT: Final = timedelta(days=30)
"""How long what happened is a gap, and a grant may go unused."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying the whole log found, and when."""

    at: datetime
    ok: bool
    size: int
    reasons: tuple[str, ...] = ()


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What is evaluated: the log's facts and the settings, ``at`` a moment.

    ``since`` is the beginning of the period, None for all that is there. ``witnessed`` says whether
    the configured quorum has cosigned the log's checkpoint, None when no witness is configured.
    ``verified`` is None when the log was not verified as a whole.
    """

    facts: Facts
    deployment: Deployment
    at: datetime
    since: datetime | None = None
    witnessed: bool | None = None
    verified: Verified | None = None

    @property
    def begin(self) -> datetime:
        """From when on what happened is a gap."""
        return self.since or self.at - RECENT


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence is missing, or speaks against: why, since when (None: not told), which events."""

    reason: str
    since: datetime | None = None
    marks: tuple[Mark, ...] = ()


class Unknown(msgspec.Struct, frozen=True):
    """The condition cannot be evaluated, and why."""

    reason: str


def moment(seconds: float) -> datetime:
    """A time of a clock, in seconds since the epoch, with its zone."""
    return datetime.fromtimestamp(seconds, UTC)
