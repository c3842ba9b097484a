"""Reviews of the policy beside a running gate: at each activation, and once in a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

import structlog

from portcullis.bootstrap.keys import keys_of
from portcullis.bootstrap.records import recorded, records, records_beside
from portcullis.bootstrap.surveying import Survey, survey_of
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.alerts import PAGE
from portcullis.control.certifying import REVIEWED, kept, told
from portcullis.control.drifts import STANDING, drift
from portcullis.control.services import Services
from portcullis.core.certificate import Reviewed
from portcullis.core.errors import Problem
from portcullis.core.release import Release
from portcullis.gateway.records import changed
from portcullis.identity.sealing import Envelope
from portcullis.policy.source import SourceFile
from portcullis.review.grants import Confirmed
from portcullis.review.grants_apart import end, reviewed_apart

DRIFT: Final = "policy.drift"
DRIFT_ENDED: Final = "policy.drift.end"
OVERDUE: Final = "policy.certify.overdue"
_DAY: Final = 86_400.0
_LOOK_SECONDS: Final = 0.5
_AGAIN_SECONDS: Final = 60.0
_MOST_LINES: Final = 20
_LONGEST: Final = 200
"""How much of what was widened stands in an event."""

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def surveying(config: Config) -> Iterator[Survey | None]:
    """A survey for a command; None where there is no record store yet."""
    if not recorded(config):
        yield None
        return
    engine = records(config)
    try:
        yield survey_of(config, engine, Envelope(keys_of(config)))
    finally:
        engine.dispose()


async def reviewing(config: Config, services: Services) -> None:
    """Review what is in force when it is another, and once in a while; only who rules does."""
    if not Role.of(services.gateway.rpartition("/")[2]).rules:
        return
    async with records_beside(config, "policy reviews") as engine:
        survey = survey_of(config, engine, services.sealer)
        try:
            await _Watch(config, services, survey).run()
        finally:
            end(survey.processes)


class _Watch:
    def __init__(self, config: Config, services: Services, survey: Survey) -> None:
        self._config = config
        self._services = services
        self._survey = survey
        self._seen: int | None = None
        self._due = 0.0

    async def run(self) -> None:
        """Look again and again; a fault is logged and tried again later."""
        while True:
            pause = _LOOK_SECONDS
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - nothing ends it but the gate's end
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                log.warning("policy_not_reviewed", fault=fault)
                pause = _AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        survey, now = self._survey, self._services.clock.now()
        version = await asyncio.to_thread(survey.book.version)
        if version == self._seen and now < self._due:
            return
        last = await asyncio.to_thread(survey.certificates.review)
        every = self._config.policy_review.every_days * _DAY
        late = last is None or now - last.at >= every
        active = await asyncio.to_thread(survey.active)
        if active is not None:
            release, files = active
            other = last is None or last.release != release.number
            if other or late:
                await self._review(release, files, last if other else None, now)
        self._seen = version
        self._due = now + every if late or last is None else last.at + every

    async def _review(
        self, release: Release, files: tuple[SourceFile, ...], last: Reviewed | None, now: float
    ) -> None:
        """Review a release; where another was reviewed last, ``last``, or none, tell of drift."""
        survey = self._survey
        before = 0 if last is None else last.release
        job = await asyncio.to_thread(lambda: survey.job(files, now, release.number, before=before))
        done = await asyncio.to_thread(reviewed_apart, job, survey.processes.append)
        report = done.report
        if report is None:
            return
        kept_before = await asyncio.to_thread(survey.certificates.review)
        other = kept_before is None or kept_before.release != release.number
        if other:
            confirmed = job.known.confirmed
            for agent, lines in done.gained.items():
                known = confirmed.get(agent)
                await self._drift(release, agent, lines, known, before)
        why = "activation" if other else "schedule"
        await self._say(REVIEWED, told(report, why))
        await asyncio.to_thread(survey.certificates.put, kept(report, why))
        await self._ended(release, frozenset(done.gained))
        for one in report.agents:
            if not one.due or one.due > now:
                continue
            if await asyncio.to_thread(survey.certificates.overdue, one.agent, one.due):
                said = {"agent": one.agent, "owner": one.owner, "due": int(one.due)}
                await self._say(OVERDUE, said)

    async def _drift(
        self,
        release: Release,
        agent: str,
        lines: tuple[str, ...],
        known: Confirmed | None,
        before: int,
    ) -> None:
        """Tell of an agent that may more than was confirmed, or else than before."""
        await self._say(
            DRIFT,
            {
                "agent": agent,
                "release": release.number,
                "approvals": len(release.approvals),
                "against": before if known is None else known.release,
                "confirmed_by": "" if known is None else known.by,
                "changes": len(lines),
                "widened": [one[:_LONGEST] for one in lines[:_MOST_LINES]],
            },
        )

    async def _ended(self, release: Release, wider: frozenset[str]) -> None:
        """Tell of drift that was taken back: what was in force before it is in force again."""
        parts = self._services.alert_parts
        if parts is None:
            return
        alerts = await asyncio.to_thread(parts.store.page, STANDING, "", PAGE)
        releases = await asyncio.to_thread(self._survey.book.list, PAGE) if alerts else ()
        for one in (drift(alert, releases) for alert in alerts):
            if one.back and one.agent not in wider:
                said = {"agent": one.agent, "release": release.number}
                await self._say(DRIFT_ENDED, said)

    async def _say(self, method: str, said: dict[str, Any]) -> None:
        services = self._services
        await services.recorder.durable(changed(services.gateway, services.clock, method, said))
