"""Observation of agents, loudly: told when it begins, once a day, and when it ends in a draft.

The rules of policy end it, by the clock; whoever rules the deployment writes down that they did,
mines what was seen into ``policy-drafts/`` in the state directory, and says so. Nothing is
activated.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from portcullis.bootstrap.mining import scopes_of
from portcullis.bootstrap.records import records_beside
from portcullis.bootstrap.releases import binding, held
from portcullis.config import Config
from portcullis.config.places import Role, logs_of
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.gateway.records import changed
from portcullis.policy.observe import Observe
from portcullis.policy.pdp import RegoPdp
from portcullis.policy.source import SourceFile, read
from portcullis.review.mine import Proposal, propose
from portcullis.review.mine_report import folder
from portcullis.review.replay_asked import events
from portcullis.store.observed import Observation, SqlObservations

DRAFTS: Final = "policy-drafts"
BEGIN: Final = "policy.observe.begin"
GOES_ON: Final = "policy.observe.goes_on"
END: Final = "policy.observe.end"
DRAFTED: Final = "policy.drafted"
_LOOK_SECONDS: Final = 0.5
_AGAIN_SECONDS: Final = 60.0
_DAY: Final = 86_400.0
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")

log = structlog.get_logger(__name__)


async def observing(config: Config, services: Services, pdp: RegoPdp) -> None:
    """Tell of observations for ever; only who rules does."""
    if not Role.of(services.gateway.rpartition("/")[2]).rules:
        return
    async with records_beside(config, "observations") as engine:
        await _Observing(config, services, pdp, SqlObservations(engine)).run()


class _Observing:
    def __init__(
        self, config: Config, services: Services, pdp: RegoPdp, store: SqlObservations
    ) -> None:
        self._config = config
        self._services = services
        self._pdp = pdp
        self._store = store
        self._known: dict[str, Observation] = {}

    async def run(self) -> None:
        """Look again and again; a fault is logged and tried again later."""
        late: list[Observation] | None = None
        while True:
            try:
                if late is None:
                    waiting = list(await asyncio.to_thread(self._store.unfinished))
                    self._known = {one.agent: one for one in waiting if not one.ended_at}
                    late = [one for one in waiting if one.ended_at]
                while late:
                    await self._draft(late[-1])
                    late.pop()
                await self._look()
            except Exception as error:  # noqa: BLE001 - the rules end it whatever happens here
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                log.warning("observation_not_told", fault=fault)
                await asyncio.sleep(_AGAIN_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        now = self._services.clock.now()
        current = {agent: one for agent, one in self._pdp.observed() if one.holds(now)}
        self._services.observed.tell({agent: one.until.text for agent, one in current.items()})
        for agent, one in current.items():
            known = self._known.get(agent)
            if known is not None and known.until == one.until.seconds:
                if now - known.told_at >= _DAY:
                    await self._say(GOES_ON, agent, one)
                    await self._put(msgspec.structs.replace(known, told_at=now))
                continue
            if known is None:
                await self._begin(agent, one, now)
            else:  # another end: it goes on, and is told as if it began
                await self._put(msgspec.structs.replace(known, ended_at=now, draft="continued"))
                await self._begin(agent, one, now, since=known.begun_at)
        for agent, known in list(self._known.items()):
            if agent not in current:
                await self._end(known, now)

    async def _begin(
        self, agent: str, one: Observe, now: float, since: float | None = None
    ) -> None:
        until = one.until.seconds
        known = await asyncio.to_thread(self._store.get, agent, until)
        if known is None:
            await self._say(BEGIN, agent, one)
        begun = known.begun_at if known is not None else (since or now)
        await self._put(Observation(agent=agent, until=until, begun_at=begun, told_at=now))

    async def _end(self, known: Observation, now: float) -> None:
        """It is over: by its time, or because the policy says so no more."""
        by = "time" if now >= known.until else "policy"
        await self._record(END, {"agent": known.agent, "until": known.until, "by": by})
        ended = msgspec.structs.replace(known, ended_at=now)
        await self._put(ended)
        await self._draft(ended)

    async def _draft(self, ended: Observation) -> None:
        """Mine what was seen, and say where it is, or why there is nothing."""
        said: dict[str, Any] = {"agent": ended.agent}
        try:
            files = (
                (await held(self._config, self._services))[1]
                if binding(self._config)
                else await asyncio.to_thread(read, self._config.policy)
            )
            found, name = await asyncio.to_thread(self._mined, ended, files)
        except Problem as problem:
            name = problem.code
            said |= {"code": problem.code}
        else:
            said |= {
                "draft": name,
                "grants": len(found.entries),
                "calls": len(found.evidence.learned),
                "observed": found.evidence.observed,
                "lost": len(found.lost),
                "denied": sum(one.count for one in found.denied),
            }
        await self._record(DRAFTED, said)
        await self._put(msgspec.structs.replace(ended, draft=name))

    def _mined(self, ended: Observation, files: tuple[SourceFile, ...]) -> tuple[Proposal, str]:
        config, now = self._config, datetime.fromtimestamp(self._services.clock.now(), UTC)
        places = tuple(logs_of(config).values())
        since = datetime.fromtimestamp(ended.begun_at, UTC)
        with scopes_of(config, files) as scopes:
            found = propose(
                files,
                ended.agent,
                lambda: events(places, since),
                now,
                since=since,
                scopes=scopes,
                environment=config.environment,
            )
        place = _free(config.state / DRAFTS, f"{_UNFIT.sub('-', ended.agent)}-{now:%Y-%m-%d}")
        try:
            folder(found, place)
        except OSError:
            raise Problem("PC7004", f"the draft cannot be written to {DRAFTS}") from None
        return found, place.name

    async def _say(self, method: str, agent: str, one: Observe) -> None:
        said = {"agent": agent, "until": one.until.text, "reason": one.reason}
        await self._record(method, said)
        log.warning(method.replace(".", "_"), agent=agent, until=one.until.text)

    async def _record(self, method: str, said: dict[str, Any]) -> None:
        services = self._services
        await services.recorder.durable(changed(services.gateway, services.clock, method, said))

    async def _put(self, one: Observation) -> None:
        await asyncio.to_thread(self._store.put, one)
        if one.ended_at:
            self._known.pop(one.agent, None)
        else:
            self._known[one.agent] = one


def _free(drafts: Path, name: str) -> Path:
    """A folder's name that is not taken."""
    drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, place = 1, drafts / name
    while place.exists():
        number += 1
        place = drafts / f"{name}-{number}"
    return place
