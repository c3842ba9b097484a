"""The section about how long events are kept, by class."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, get_args

from pydantic import Field

from portcullis.config.common import Section

RetentionClass: TypeAlias = Literal[
    "tool_call", "llm_call", "decision", "error", "identity", "session"
]
_DAY: Final = 86_400.0


class Kept(Section):
    """Events are never pruned before ``min_days``, and are when they are ``max_days`` old."""

    min_days: float = Field(default=0, ge=0, le=36_500)
    max_days: float | None = Field(default=None, gt=0, le=36_500)

    def model_post_init(self, context: Any, /) -> None:
        """What must be kept longer than it may be is neither."""
        del context
        if self.max_days is not None and self.max_days < self.min_days:
            msg = "max_days is less than min_days"
            raise ValueError(msg)


class Retention(Section):
    """How long events stay: for ever, unless it says so.

    Results stay as long as their calls; ``session`` are the openings and closings of sessions.
    What else operators and applications do is kept for ever.
    """

    default: Kept = Kept()
    classes: dict[RetentionClass, Kept] = Field(default_factory=dict)

    def min_days(self) -> dict[str, float]:
        """The least days of each class."""
        return {name: kept.min_days for name, kept in self._all().items()}

    def due(self, now: float) -> dict[str, float]:
        """By class: what is older than this (seconds since the epoch) has to go."""
        kept = self._all().items()
        return {name: now - one.max_days * _DAY for name, one in kept if one.max_days is not None}

    def allowed(self, now: float) -> dict[str, float]:
        """By class: what is older than this (seconds since the epoch) may go."""
        return {name: now - kept.min_days * _DAY for name, kept in self._all().items()}

    def _all(self) -> dict[str, Kept]:
        return {name: self.classes.get(name, self.default) for name in get_args(RetentionClass)}
