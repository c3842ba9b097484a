"""Quarantine by itself: whoever's risk rises to the configured level, from the one that rules."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.containment import by_itself
from portcullis.control.services import Services
from portcullis.core.alarm import Alarm
from portcullis.core.behaviour import RiskLevel
from portcullis.core.errors import Problem
from portcullis.oversight.quarantine import Risen, because
from portcullis.store.behaviour import FollowedLevels

_LOOK_SECONDS: Final = 0.25
_ACTS: Final = frozenset({"PC6001", "PC9002"})
"""It has no record, or is not durable, and acts all the same."""

log = structlog.get_logger(__name__)


async def isolating(
    config: Config, services: Services, levels: FollowedLevels, alarm: Alarm
) -> None:
    """Quarantine agents as their risk rises, for ever; only who rules does."""
    at = config.quarantine.at
    if at == "never" or not Role.of(services.gateway.rpartition("/")[2]).rules:
        return
    risen, service, clock = Risen(RiskLevel(at)), services.quarantining("behaviour"), services.clock
    while True:
        for agent in risen.step({agent: levels.level(agent) for agent in levels.agents()}):
            reason = because(levels.level(agent), levels.reasons(agent))
            try:
                if any((one.scope, one.value) == ("agent", agent) for one in await service.list()):
                    continue  # somebody was quicker
                await service.begin(by_itself(clock.now()), "agent", agent, reason)
            except Problem as problem:
                log.warning("quarantine_not_kept", agent=agent, code=problem.code)
                if problem.code not in _ACTS:
                    continue  # such as an agent that is registered no more
            except Exception:
                log.exception("quarantine_failed", agent=agent)
                risen.forget(agent)
                continue
            alarm.raised("quarantine", f"agent:{agent}", reason)
        await asyncio.sleep(_LOOK_SECONDS)
