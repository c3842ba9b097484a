"""Which agents are observed now, for the pages of the console."""

from __future__ import annotations

from collections.abc import Mapping


class ObservedAgents:
    """Until when each observed agent is, as policy writes it; kept by whoever rules."""

    def __init__(self) -> None:
        self._until: Mapping[str, str] = {}

    def tell(self, until: Mapping[str, str]) -> None:
        """These are observed now, and nobody else."""
        self._until = dict(until)

    def until(self, agent: str) -> str:
        """Until when an agent is; empty for one that is not."""
        return self._until.get(agent, "")

    def all(self) -> Mapping[str, str]:
        """All of them."""
        return self._until
