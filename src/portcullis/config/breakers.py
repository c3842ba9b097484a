"""The section about circuit breakers. On by default, and mild; times are in seconds."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from portcullis.config.common import Section


class _Breaker(Section):
    """Open for ``open_seconds``, then twice as long each time, at most ``longest_seconds``.

    A probe that has not ended after ``probe_seconds`` makes room for the next.
    """

    enabled: bool = True
    window_seconds: float = Field(default=60, ge=1, le=3600)
    open_seconds: float = Field(default=15, ge=0.1, le=86_400)
    longest_seconds: float = Field(default=300, ge=0.1, le=86_400)
    probe_seconds: float = Field(default=30, ge=0.1, le=3600)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.longest_seconds < self.open_seconds:
            msg = "longest_seconds is less than open_seconds"
            raise ValueError(msg)
        return self


class UpstreamBreaker(_Breaker):
    """When an upstream is given a rest: of at least ``calls`` calls, a share ``errors`` failed.

    Or a share ``slow`` began to be answered after more than ``slow_seconds``. Either is counted
    over the last ``window_seconds``.
    """

    calls: int = Field(default=20, ge=1)
    errors: float = Field(default=0.5, gt=0, le=1)
    slow_seconds: float = Field(default=60, gt=0)
    slow: float = Field(default=0.8, gt=0, le=1)


class AgentBreaker(_Breaker):
    """When an agent is stopped for a while: within ``window_seconds``, ``denials`` calls denied.

    Or a share ``errors`` of at least ``calls`` calls that went wrong by its own doing; or ``cost``
    spent, in the currency of the prices. Null: not for that.
    """

    open_seconds: float = Field(default=60, ge=0.1, le=86_400)
    longest_seconds: float = Field(default=3600, ge=0.1, le=86_400)
    denials: int | None = Field(default=120, ge=1)
    calls: int = Field(default=60, ge=1)
    errors: float | None = Field(default=0.9, gt=0, le=1)
    cost: float | None = Field(default=50, gt=0)


class Breakers(Section):
    """What opens breakers, and for how long."""

    upstream: UpstreamBreaker = UpstreamBreaker()
    agent: AgentBreaker = AgentBreaker()
