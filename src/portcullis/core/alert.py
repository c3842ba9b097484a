"""The vocabulary of alerts: what a rule raises, and how loud."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class Level(StrEnum):
    """How much it matters, in Sigma's words, from the least to the highest."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


LEVELS: Final = {level: rank for rank, level in enumerate(Level)}
"""From the least to the highest level."""


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """A rule fired. It holds names and numbers of events, never content.

    ``group`` is what the rule counts by, such as ``{"principal": "helper-7"}``, in the rule's
    order: alerts of one rule and one group are one. ``at`` is the time of the event that made it
    so, in seconds since the epoch; ``events`` are ids of events behind it, the latest last, at
    most ``EVIDENCE``; ``count`` is how many there were.
    """

    rule: str
    level: Level
    group: dict[str, str]
    at: float
    events: tuple[str, ...]
    count: int = 1

    @property
    def subject(self) -> str:
        """Whom or what it is about, in one line: ``principal=helper-7, server=crm``."""
        return ", ".join(f"{name}={value}" for name, value in self.group.items())


EVIDENCE: Final = 10
"""Most events that an alert names."""
