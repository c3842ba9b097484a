"""Incidents over SQL: the ``IncidentStore`` port, and who is on probation, followed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.core.incident import Incident, Phase
from portcullis.core.ports import Clock
from portcullis.store.changes import Changes
from portcullis.store.dialect import unseen, writing
from portcullis.store.tables import INCIDENTS

log = structlog.get_logger(__name__)

_FOLLOW_SECONDS: Final = 0.1
_FAULT_SECONDS: Final = 1.0
_MOST: Final = 1000
_ROW: Final = INCIDENTS.c
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Incident).decode


class SqlIncidents:
    """An adapter of ``core.incident_ports.IncidentStore``. Every method blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, "incidents")

    def open(self, incident: Incident) -> Incident:
        """See IncidentStore."""
        with self._writing.begin() as connection:
            found = _of(connection, incident.subject.name)
            if found is not None:
                return found
            own = {"id": incident.id, "opened_at": incident.opened_at}
            connection.execute(insert(INCIDENTS).values(own | _values(incident)))
            return incident

    def unresolved(self) -> tuple[Incident, ...]:
        """See IncidentStore."""
        query = select(_ROW.document).where(_ROW.unresolved == 1).order_by(_ROW.id).limit(_MOST)
        with self._engine.connect() as connection:
            return tuple(map(_decode, connection.execute(query).scalars()))

    def get(self, incident: str) -> Incident | None:
        """See IncidentStore."""
        with self._engine.connect() as connection:
            return _get(connection, incident)

    def of(self, subject: str) -> Incident | None:
        """See IncidentStore."""
        with self._engine.connect() as connection:
            return _of(connection, subject)

    def change(self, incident: str, changed: Callable[[Incident], Incident]) -> Incident:
        """See IncidentStore."""
        with self._writing.begin() as connection:
            found = _get(connection, incident)
            if found is None:
                raise Problem("PC7060", f"there is no incident {incident}")
            new = msgspec.structs.replace(changed(found), turn=found.turn + 1)
            here = update(INCIDENTS).where(_ROW.id == incident)
            connection.execute(here.values(_values(new)))
            return new

    def page(
        self, phases: Sequence[Phase], subject: str, before: str, limit: int
    ) -> tuple[Incident, ...]:
        """See IncidentStore."""
        fits = [_ROW.id < before] if before else []
        if len(phases) < len(Phase):
            fits.append(_ROW.phase.in_([one.value for one in phases]))
        if subject:
            fits.append(_ROW.subject == subject)
        query = select(_ROW.document).where(*fits).order_by(_ROW.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return tuple(map(_decode, connection.execute(query).scalars()))


class FollowedProbations:
    """An adapter of ``core.incident_ports.Probations``: follows the database.

    While that cannot be read the last known ones hold; ``watch`` is at most 0.2 seconds behind.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._known: dict[str, tuple[tuple[float, float], ...]] = {}

    def factor(self, agent: str) -> float:
        """See Probations."""
        found = self._known.get(agent)
        if found is None:
            return 1.0
        now = self._clock.now()
        return min((factor for until, factor in found if now < until), default=1.0)

    def refresh(self) -> None:
        """Read them now. Blocks."""
        query = select(_ROW.agent, _ROW.probation_until, _ROW.factor)
        query = query.where(_ROW.probation_until > self._clock.now())
        known: dict[str, tuple[tuple[float, float], ...]] = {}
        with self._engine.connect() as connection:
            for agent, until, factor in connection.execute(query):
                known[agent] = (*known.get(agent, ()), (until, factor))
        self._known = known

    async def watch(self) -> None:
        """Follow whoever reinstates, until cancelled."""
        seen, failing = unseen(), False
        changes = Changes(self._engine)
        try:
            while True:
                try:
                    version = await changes.now()
                    if version != seen:
                        await asyncio.to_thread(self.refresh)
                        seen = version
                    failing = False
                except (sqlite3.Error, SQLAlchemyError) as error:
                    if not failing:
                        log.warning("probations_not_read", fault=type(error).__name__)
                    failing = True
                await asyncio.sleep(_FAULT_SECONDS if failing else _FOLLOW_SECONDS)
        finally:
            changes.close()


def _get(connection: Connection, incident: str) -> Incident | None:
    query = select(_ROW.document).where(_ROW.id == incident)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else _decode(found)


def _of(connection: Connection, subject: str) -> Incident | None:
    query = select(_ROW.document).where(_ROW.subject == subject, _ROW.unresolved == 1)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else _decode(found)


def _values(incident: Incident) -> dict[str, object]:
    asked = incident.asked
    return {
        "subject": incident.subject.name,
        "agent": incident.subject.agent,
        "phase": incident.phase.value,
        "unresolved": int(not incident.over),
        "probation_until": incident.probation_until,
        "factor": asked.factor if asked is not None and incident.probation_until else 0.0,
        "document": _encode(incident),
    }
