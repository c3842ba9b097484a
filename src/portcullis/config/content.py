"""The section about content that is kept off the log, for so many days per class of event."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from portcullis.config.common import Section
from portcullis.core.event import EventType

ContentClass: TypeAlias = Literal[
    "decision", "tool_call", "llm_call", "result", "tool_result", "llm_result"
]
_DAYS: Final = 30.0


def _word(value: object) -> object:
    """YAML reads ``off`` as a boolean."""
    return "off" if value is False else value


class Content(Section):
    """What of calls is kept, sealed under their subject's key: nothing, unless it says so.

    ``days`` is how long, by class of event: 30 for those that it does not name. Beyond
    ``most_bytes`` the oldest goes first. ``encrypt_to`` is a file of public keys: what is kept can
    then be read by those who hold the private ones, and not by the gate (docs/end-to-end.md).
    """

    keep: Annotated[Literal["off", "arguments", "arguments+results"], BeforeValidator(_word)] = (
        "off"
    )
    days: dict[ContentClass, Annotated[float, Field(gt=0, le=3650)]] = Field(default_factory=dict)
    most_bytes: int = Field(default=2**30, ge=2**20)
    encrypt_to: Path | None = None

    def model_post_init(self, context: Any, /) -> None:
        """Recipients are of something."""
        del context
        if self.encrypt_to is not None and self.keep == "off":
            msg = "encrypt_to needs keep: arguments or arguments+results"
            raise ValueError(msg)

    def expired(self, now: float) -> dict[str, float]:
        """By class of event: what is older than this (seconds since the epoch) goes."""
        days = {str(kind): kept for kind, kept in self.days.items()}
        return {kind: now - days.get(kind, _DAYS) * 86_400 for kind in EventType}
