"""The section about what is usual for agents, and what is done when they behave otherwise.

It stands in ``portcullis.yaml`` and not in the policy: what is unusual is said by the one process
that learns for all gateways, and by nobody's role, and who may change the policy of some agents
should not thereby make the gate deaf to others.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from portcullis.config.common import Section


class Thresholds(Section):
    """The scores from which on a level holds; each is above the one before."""

    elevated: float = Field(default=30, gt=0, le=10_000)
    high: float = Field(default=60, gt=0, le=10_000)
    critical: float = Field(default=100, gt=0, le=10_000)

    def model_post_init(self, context: Any, /) -> None:
        """In order."""
        del context
        if not self.elevated < self.high < self.critical:
            msg = "elevated must be below high, and high below critical"
            raise ValueError(msg)


class Bounds(Section):
    """What is too much of any agent in an hour, whatever is usual for it."""

    calls: float = Field(default=20_000, gt=0)
    refusals: float = Field(default=500, gt=0)
    effects: float = Field(default=5_000, gt=0)
    result_bytes: float = Field(default=2_000_000_000, gt=0)


class Behaviour(Section):
    """Learning what is usual, and scoring what is not.

    A baseline can be ratified after ``learn_days`` on which the agent was active. From the level
    ``hold_at`` on, an agent's effects wait for a human; ``never`` switches that off. A score halves
    in ``half_life_hours``.
    """

    learn_days: int = Field(default=7, ge=0, le=365)
    levels: Thresholds = Thresholds()
    half_life_hours: float = Field(default=4, gt=0, le=168)
    hold_at: str = Field(default="high", pattern="^(elevated|high|critical|never)$")
    bounds: Bounds = Bounds()
