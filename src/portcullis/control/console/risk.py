"""How risky agents are, as lists and pages show it; and the list by risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from portcullis.control.activity import Activity
from portcullis.control.behaviour import Behaving, Stands
from portcullis.core.behaviour import LEVELS, Phase, RiskLevel
from portcullis.core.cursor import cursor_of, key_of
from portcullis.core.desk import MOST, AgentSeen, AgentsWanted
from portcullis.core.errors import Problem

BY_RISK: Final = "risk"
"""What the list is sorted by when it is not by name."""
_ROUNDS: Final = 5
_decoder: Final = msgspec.json.Decoder(tuple[str])


@dataclass(frozen=True, slots=True)
class Risk:
    """An agent's risk: what is acted on, the score, how many reasons there are for it."""

    level: RiskLevel
    score: float
    phase: Phase
    reasons: int

    @classmethod
    def of(cls, stands: Stands) -> Risk:
        """The risk of a standing."""
        one = stands.standing
        return cls(stands.level, stands.score, one.phase, len(one.reasons))


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of agents, and what is known of risks; ``following`` is the next one's cursor."""

    agents: tuple[AgentSeen, ...]
    risks: Mapping[str, Risk]
    following: str


async def by_name(
    activity: Activity, behaving: Behaving, wanted: AgentsWanted, cursor: str, most: int
) -> Listed:
    """Agents by name. Raises Problem PC3051."""
    found = await activity.agents(wanted, cursor, most)
    stands = await behaving.some([one.record.id for one in found.agents])
    risks = {one.standing.agent: Risk.of(one) for one in stands}
    return Listed(found.agents, risks, found.following)


async def by_risk(
    activity: Activity,
    behaving: Behaving,
    wanted: AgentsWanted,
    level: RiskLevel | None,
    cursor: str,
    most: int,
) -> Listed:
    """Agents that were seen, those with the highest score first; of one level, if it is given.

    A page looks at a bounded number of agents: it may be short, and not the last. Raises Problem
    PC3051.
    """
    known = key_of(cursor, _decoder)
    risks = {
        one.standing.agent: Risk.of(one)
        for one in await behaving.list()
        if one.standing.agent.startswith(wanted.name) and level in {None, one.level}
    }
    names = sorted(risks, key=lambda name: (-LEVELS[risks[name].level], -risks[name].score, name))
    start = names.index(known[0]) + 1 if known and known[0] in risks else 0
    found: list[AgentSeen] = []
    for _ in range(_ROUNDS):
        some = names[start : start + MOST]
        seen = await activity.some(some)
        for name in some:
            start += 1
            if name in seen and wanted.state in {"", seen[name].record.state}:
                found.append(seen[name])
            if len(found) == most:
                break
        if len(found) == most or start >= len(names):
            break
    following = cursor_of(names[start - 1]) if start < len(names) else ""
    return Listed(tuple(found), risks, following)


def level_of(said: str) -> RiskLevel | None:
    """The level that an address names, None for none. Raises Problem PC1020."""
    try:
        return RiskLevel(said) if said else None
    except ValueError:
        raise Problem("PC1020", "level: there is no such level") from None
