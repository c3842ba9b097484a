"""How unusual an agent behaves, in the words that policy and people use."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol


class RiskLevel(StrEnum):
    """What an agent's risk score comes to, from the least to the highest."""

    NORMAL = "normal"
    ELEVATED = "elevated"
    HIGH = "high"
    CRITICAL = "critical"


LEVELS: Final = {level: rank for rank, level in enumerate(RiskLevel)}


class RiskLevels(Protocol):
    """The risk levels of agents as last scored: O(1), in memory, asked on every call.

    An agent that is not known, or has not been scored, is ``normal``.
    """

    def level(self, agent: str) -> RiskLevel:
        """How risky the agent is now."""
        ...
