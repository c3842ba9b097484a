"""What is evaluated, and what a condition can say of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from portcullis.review.deployment import Deployment
from portcullis.review.facts import Facts, Mark

RECENT: Final = timedelta(days=30)
"""How long what happened is a gap, and a grant may go unused."""


BEGINNING: Final = timedelta(minutes=5)
"""How long after a gateway was started it may have no log yet."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying all of each log found, and when."""

    at: datetime
    ok: bool
    size: int
    reasons: tuple[str, ...] = ()


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What is evaluated: the logs' facts and the settings, ``at`` a moment.

    ``since`` is the beginning of the period, None for all that is there. ``unwitnessed`` are the
    logs whose checkpoint the configured quorum has not cosigned, None without any witness.
    ``missing`` are logs that there have to be and that are not there. ``verified`` is None when
    the logs were not verified as a whole.
    """

    facts: Facts
    deployment: Deployment
    at: datetime
    since: datetime | None = None
    unwitnessed: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    verified: Verified | None = None

    @property
    def begin(self) -> datetime:
        """From when on what happened is a gap."""
        return self.since or self.at - RECENT

    @property
    def absent(self) -> tuple[str, ...]:
        """The missing logs, and those of gateways that were started in the period, by name."""
        begun = {
            name
            for name, mark in self.facts.started.items()
            if name not in self.facts.logs and self.begin <= mark.time < self.at - BEGINNING
        }
        return tuple(sorted({*self.missing, *begun}))

    @property
    def partial(self) -> str:
        """Why the facts may be fewer than what happened; empty when they are all."""
        if self.absent:
            return f"there is no log of {', '.join(self.absent)}"
        if self.verified is not None and not self.verified.ok:
            return "a log does not verify"
        return ""


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
