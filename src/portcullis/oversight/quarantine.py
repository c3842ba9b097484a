"""Who has become too risky to go on: agents whose level rose to what the configuration names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from portcullis.core.behaviour import LEVELS, RiskLevel

_LONGEST: Final = 200


class Risen:
    """Tells each agent once when its level rises to ``at``, and again after it fell below.

    So one that an operator let out stays out until it gets worse anew.
    """

    def __init__(self, at: RiskLevel) -> None:
        self._at = LEVELS[at]
        self._told: frozenset[str] = frozenset()

    def step(self, levels: Mapping[str, RiskLevel]) -> tuple[str, ...]:
        """Who rose since the last step; of an agent that is not named, the level is normal."""
        above = frozenset(agent for agent, level in levels.items() if LEVELS[level] >= self._at)
        new, self._told = above - self._told, above
        return tuple(sorted(new))

    def forget(self, agent: str) -> None:
        """Tell it once more at the next step: what had to be done about it was not."""
        self._told -= {agent}


def because(level: RiskLevel, reasons: Iterable[str]) -> str:
    """The reason that stands in the log: the level, and what is unusual, in one short line."""
    said = f"its risk is {level}"
    for reason in reasons:
        longer = f"{said}; {reason}"
        if len(longer) > _LONGEST or not reason.isprintable():
            break
        said = longer
    return said
