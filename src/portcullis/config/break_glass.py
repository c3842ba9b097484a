"""The section about operators who break the glass."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portcullis.config.common import Section
from portcullis.config.roles import RoleName


class BreakGlass(Section):
    """Who may take ``roles`` beside his own for at most ``minutes``, and has that reviewed.

    ``may`` are the roles of whom this is open to; without them to nobody. What waits for its review
    is told again every ``remind_hours``.
    """

    may: tuple[RoleName, ...] = ()
    roles: Annotated[tuple[RoleName, ...], Field(min_length=1)] = ("admin",)
    minutes: int = Field(default=60, ge=1, le=720)
    remind_hours: int = Field(default=24, ge=1, le=168)
