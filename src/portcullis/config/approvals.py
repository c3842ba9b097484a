"""The section about calls that wait for a human."""

from __future__ import annotations

from pydantic import Field

from portcullis.config.common import Section


class Approvals(Section):
    """How long calls wait for a human, and who is told. Times are in seconds.

    What nobody approved within ``ttl_seconds``, or while its session lasts, expires. A held
    call's connection waits up to ``wait_seconds`` for the decision, at most ``waiting`` of them at
    once and ``waiting_per_agent`` of one agent; the others are told at once to come again. An agent
    has at most ``pending_per_agent`` calls waiting. After ``refusals`` denials within
    ``refusals_seconds`` it may ask for nothing more until an operator lifts that. Whoever is the
    session's user never approves, and its agent's owner only with ``owner_may_approve``; where the
    owner is one of ``teams``, none of its members.
    ``remind_seconds`` and ``escalate_seconds`` after the request, events say that it still waits;
    None for never.
    """

    ttl_seconds: int = Field(default=86_400, ge=1, le=604_800)
    wait_seconds: float = Field(default=0, ge=0, le=600)
    waiting: int = Field(default=64, ge=1)
    waiting_per_agent: int = Field(default=8, ge=1)
    pending_per_agent: int = Field(default=32, ge=1)
    refusals: int = Field(default=3, ge=1)
    refusals_seconds: int = Field(default=86_400, ge=1)
    owner_may_approve: bool = False
    teams: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    remind_seconds: int | None = Field(default=3600, ge=1)
    escalate_seconds: int | None = Field(default=14_400, ge=1)
