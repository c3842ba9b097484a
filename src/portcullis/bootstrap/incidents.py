"""Incidents, put together: what they stand on, who is on probation, and what opens them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from sqlalchemy import Engine

from portcullis.bootstrap.background import background
from portcullis.bootstrap.incidents_history import history_of
from portcullis.bootstrap.records import records
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.containment import by_itself
from portcullis.control.incidents_parts import IncidentParts
from portcullis.control.services import Services
from portcullis.core.alert import UNRESOLVED, Alert, Level, Wanted
from portcullis.core.errors import Problem
from portcullis.core.incident_ports import Rotations
from portcullis.oversight.incidents_playbook import named, playbooks
from portcullis.store.incidents import FollowedProbations, SqlIncidents

log = structlog.get_logger(__name__)

_ROUTE: Final = "control"
_MOST: Final = 100
"""Alerts that are looked at after a start, the newest."""


def incident_parts(config: Config, engine: Engine, rotations: Rotations) -> IncidentParts:
    """What incidents stand on. Raises Problem PC7002 for a playbook that cannot be read, PC7066."""
    known = playbooks(config.incidents.playbooks)
    named(known, config.incidents.playbook)
    history = history_of(config, engine)
    return IncidentParts(
        store=SqlIncidents(engine),
        rotations=rotations,
        findings=history.findings,
        playbooks=known,
        settings=config.incidents,
        approvals=config.approvals,
        environment=config.environment,
        history=history,
    )


@contextlib.asynccontextmanager
async def probation(config: Config, services: Services) -> AsyncIterator[FollowedProbations]:
    """Who is on probation, followed beside the block; in every process."""
    engine = records(config)
    try:
        found = FollowedProbations(engine, services.clock)
        found.refresh()
        async with background(found.watch()):
            yield found
    finally:
        engine.dispose()


async def resuming(services: Services) -> None:
    """Take up again what a crash left half done, once; only who rules does."""
    parts = services.incident_parts
    if parts is None or not _rules(services):
        return
    try:
        await services.incidents(_ROUTE).resume()
        opening, alerts = services.alert_incidents(_ROUTE), services.alert_parts
        least = parts.settings.on_alert
        if opening is None or alerts is None or least == "never":
            return
        wanted = Wanted(states=UNRESOLVED, level=Level(least))
        for alert in await asyncio.to_thread(alerts.store.page, wanted, "", _MOST):
            await opening.raised(by_itself(services.clock.now()), alert)
    except Exception as error:  # noqa: BLE001 - the gate runs on; the incident says what is due
        fault = error.code if isinstance(error, Problem) else type(error).__name__
        log.warning("incidents_not_resumed", fault=fault)


def by_alert(services: Services) -> Callable[[Alert], None]:
    """What is told of each new alert, on whichever thread: it may open an incident, as configured.

    Make it on the loop that the services are used on. It returns at once and never raises.
    """
    parts = services.incident_parts
    if parts is None or parts.settings.on_alert == "never" or not _rules(services):
        return lambda _: None
    opening, loop = services.alert_incidents(_ROUTE), asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def opened(alert: Alert) -> None:
        try:
            if opening is not None:
                await opening.raised(by_itself(services.clock.now()), alert)
        except Exception as error:  # noqa: BLE001 - the alert stands all the same
            fault = error.code if isinstance(error, Problem) else type(error).__name__
            log.warning("incident_not_opened", alert=alert.id, fault=fault)

    def begin(alert: Alert) -> None:
        task = loop.create_task(opened(alert))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def told(alert: Alert) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(begin, alert)

    return told


def _rules(services: Services) -> bool:
    return Role.of(services.gateway.rpartition("/")[2]).rules
