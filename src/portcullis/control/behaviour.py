"""What is usual for agents, for operators: a human's word is recorded before it takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from portcullis.config.behaviour import Behaviour
from portcullis.control.records import Records
from portcullis.core.behaviour import (
    PREFIX,
    BehaviourStore,
    Line,
    Phase,
    RiskLevel,
    Standing,
    Thresholds,
    Verb,
    after,
)
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock


@dataclass(frozen=True, slots=True)
class BehaviourParts:
    """Where standings are, what they come to, and what was configured."""

    store: BehaviourStore
    settings: Behaviour
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Stands:
    """A standing as it is now: its score decayed, and what that comes to."""

    standing: Standing
    score: float
    level: RiskLevel


def thresholds_of(settings: Behaviour) -> Thresholds:
    """What a score comes to, as configured."""
    levels = settings.levels
    return Thresholds(
        elevated=levels.elevated,
        high=levels.high,
        critical=levels.critical,
        half_life_hours=settings.half_life_hours,
    )


class Behaving:
    """Lists, shows, explains, ratifies and resets. ``route`` is as in ``Principals``."""

    def __init__(self, parts: BehaviourParts, records: Records, clock: Clock, route: str) -> None:
        self._parts = parts
        self._records = records
        self._clock = clock
        self._route = route

    async def list(self) -> tuple[Stands, ...]:
        """How all agents stand that were ever seen, by name."""
        return tuple(map(self._stands, await asyncio.to_thread(self._parts.store.list)))

    async def some(self, agents: Sequence[str]) -> tuple[Stands, ...]:
        """How these stand, as far as they were ever seen."""
        get = self._parts.store.get
        found = await asyncio.to_thread(lambda: [get(one) for one in agents])
        return tuple(self._stands(one) for one in found if one is not None)

    async def get(self, agent: str) -> Stands:
        """How one agent stands. Raises Problem PC3090 when it was never seen."""
        return self._stands(await self._get(agent))

    async def usual(self, agent: str) -> tuple[Line, ...]:
        """What is usual for it, as last kept. Raises Problem PC3090."""
        await self._get(agent)
        return await asyncio.to_thread(self._parts.store.usual, agent)

    async def ratify(self, context: Context, agent: str, reason: str) -> Stands:
        """Say that what an agent does is as it should be: from now on the rest is unusual.

        Raises Problem PC3090, PC3091, PC3092 when too little was learned, PC3093 when somebody
        else said something meanwhile.
        """
        standing = await self._get(agent)
        days = self._parts.settings.learn_days
        if standing.phase is Phase.LEARNING and standing.days < days:
            raise Problem(
                "PC3092", f"{agent} was active on {standing.days} days of the {days} it takes"
            )
        return await self._decide(context, standing, Verb.RATIFY, reason)

    async def reset(self, context: Context, agent: str, reason: str) -> Stands:
        """Forget what was learned of an agent, its score with it, and learn anew.

        Raises Problem PC3090, PC3093.
        """
        return await self._decide(context, await self._get(agent), Verb.RESET, reason)

    async def _decide(
        self, context: Context, standing: Standing, verb: Verb, reason: str
    ) -> Stands:
        agent, phase = standing.agent, after(standing.phase, verb)
        now = self._clock.now()
        score = self._parts.thresholds.decayed(standing.score, now - standing.scored_at)
        said = {"reason": reason, "before": standing.phase.value, "score": round(score, 1)}
        await self._records.act(
            context, f"{PREFIX}{verb}", agent, route=self._route, parameters=said
        )
        done = await asyncio.to_thread(
            lambda: self._parts.store.decide(
                agent, standing.turn, phase, by=context.principal.id, why=reason, at=now
            )
        )
        if not done:
            raise Problem("PC3093", f"somebody else decided about {agent} meanwhile")
        return self._stands(await self._get(agent))

    async def _get(self, agent: str) -> Standing:
        found = await asyncio.to_thread(self._parts.store.get, agent)
        if found is None:
            raise Problem("PC3090", f"nothing was learned of {agent}")
        return found

    def _stands(self, standing: Standing) -> Stands:
        thresholds = self._parts.thresholds
        score = thresholds.decayed(standing.score, self._clock.now() - standing.scored_at)
        return Stands(standing, score, thresholds.level(score, standing.phase))
