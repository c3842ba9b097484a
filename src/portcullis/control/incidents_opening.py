"""Incidents that others open: a kill, an alert."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from portcullis.control.incidents import Incidents
from portcullis.control.incidents_parts import IncidentParts, unheld
from portcullis.control.kills import Killed
from portcullis.core.alert import LEVELS, Alert, Level
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.incident import Incident, Phase, Source, Subject
from portcullis.core.ports import Directory
from portcullis.core.principal import PrincipalKind


class KillIncidents:
    """Implements ``control.kills.Opening``."""

    def __init__(self, parts: IncidentParts, incidents: Incidents) -> None:
        self._parts = parts
        self._incidents = incidents

    async def killed(self, context: Context, killed: Killed, playbook: str) -> str:
        """See Opening. What was killed is contained."""
        if killed.scope not in {"agent", "session"}:
            return ""
        if not playbook and self._parts.settings.on_kill != "auto":
            return ""
        whom = killed.value
        subject = (
            Subject(agent="", session=whom) if killed.scope == "session" else Subject(agent=whom)
        )
        found = await self._incidents.of(subject)
        if found is None:
            found = await self._incidents.open(
                context,
                subject,
                killed.reason,
                playbook=playbook,
                source=Source(kind="kill", id=subject.name),
                containing="kill",
            )
        if found.phase is Phase.OPEN:
            found = await self._incidents.contain(context, found.id, killed.reason)
        return found.id

    async def unheld(self, scope: str, value: str) -> None:
        """See Opening."""
        await unheld(self._parts, scope, value)


class AlertIncidents:
    """Opens incidents for alerts that are about an agent, as configured; it contains nothing."""

    def __init__(self, parts: IncidentParts, incidents: Incidents, directory: Directory) -> None:
        self._parts = parts
        self._incidents = incidents
        self._directory = directory

    async def raised(self, context: Context, alert: Alert) -> str:
        """The id of the incident about what an alert is about; empty when none is to be opened.

        One is when the alert is of the configured level or higher, and about an agent that there
        is. What one that is open already is about opens no other.
        """
        least = self._parts.settings.on_alert
        if least == "never" or LEVELS[alert.level] < LEVELS[Level(least)]:
            return ""
        ours = {name: one for name, one in alert.group.items() if name not in alert.hidden}
        agent = agent_of(ours)
        if not agent or not await asyncio.to_thread(
            self._directory.get, PrincipalKind.AGENT, agent
        ):
            return ""
        subject, source = Subject(agent=agent), Source(kind="alert", id=alert.id)
        known = await self._incidents.of(subject)
        if known is not None:
            return known.id
        for one in await self._incidents.list(unresolved=False, subject=subject.name):
            if one.source == source or _last(one) >= alert.first_at:
                return one.id  # over, and about this; or what was done then raised it
        wanted = alert.words.playbook
        try:
            made = await self._incidents.open(
                context,
                subject,
                f"alert {alert.rule}",
                playbook=wanted if wanted in self._parts.playbooks else "",
                source=source,
            )
        except Problem as problem:
            if problem.code != "PC7062":  # somebody was quicker
                raise
            known = await self._incidents.of(subject)
            return known.id if known is not None else ""
        return made.id


def _last(incident: Incident) -> float:
    """When something was last done of an incident."""
    return max((incident.opened_at, *(step.ended_at for step in incident.steps)))


def agent_of(group: Mapping[str, str]) -> str:
    """The agent that an alert's group names, or empty.

    As ``principal``, as ``parameters.agent``, or as ``name`` (agent:NAME).
    """
    kind, _, name = group.get("name", "").partition(":")
    if kind == PrincipalKind.AGENT and name and "server" not in group:  # else it is a tool's
        return name
    if group.get("principal_kind", PrincipalKind.AGENT.value) != PrincipalKind.AGENT:
        return ""
    return group.get("principal", "") or group.get("parameters.agent", "")
