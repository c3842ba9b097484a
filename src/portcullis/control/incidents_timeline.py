"""What an incident's history says, for operators: timeline, radius and report.

One page of a timeline is cheap. A radius and a report read much of a log, so one of them is made
at a time in a process; whoever asks meanwhile waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from portcullis.control.incidents import Incidents
from portcullis.control.incidents_parts import History
from portcullis.core.errors import Problem
from portcullis.core.incident import Incident
from portcullis.core.incident_ports import Page
from portcullis.core.ports import Clock
from portcullis.review.incident_package import package
from portcullis.review.incident_radius import Radius
from portcullis.review.incident_text import html, markdown

Form: TypeAlias = Literal["md", "html", "zip"]
"""What a report is made as: Markdown, one HTML file, or an archive with proofs."""
_MEDIA: Final[dict[Form, str]] = {
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "zip": "application/zip",
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report as a file. ``key`` is the public key that an archive verifies with, else empty."""

    name: str
    media_type: str
    data: bytes
    key: str = ""


class Telling:
    """Reads for operators: nothing here changes an incident.

    Raises Problem PC7060 where there is no such incident, PC7005 where there are no logs to read,
    and PC6002 when a log is damaged.
    """

    def __init__(self, incidents: Incidents, history: History | None, clock: Clock) -> None:
        self._incidents = incidents
        self._history = history
        self._clock = clock
        self._turn = asyncio.Lock()

    async def timeline(
        self, incident: str, kinds: Sequence[str] = (), cursor: str = "", limit: int = 100
    ) -> Page:
        """A page of what happened since the time that the incident looks back to, oldest first.

        What is done about the incident is part of it, so it has no end but now. Raises Problem
        PC3051 for a foreign cursor, PC1020 for a kind that there is not.
        """
        found = await self._incidents.show(incident)
        return await self._known.timeline.page(
            found.subject, found.since, 0.0, kinds=kinds, cursor=cursor, limit=limit
        )

    async def radius(self, incident: str) -> Radius:
        """How far it went."""
        found = await self._incidents.show(incident)
        radius = self._known.radius
        async with self._turn:
            return await asyncio.to_thread(radius.draw, found.subject, found.since, found.until)

    async def report(self, incident: str, form: Form, *, notes: bool = False) -> Report:
        """The report, with what notes say if that is asked for."""
        found = await self._incidents.show(incident)
        async with self._turn:
            return await asyncio.to_thread(
                made, self._known, found, form, self._clock.now(), notes=notes
            )

    @property
    def _known(self) -> History:
        if self._history is None:
            raise Problem("PC7005", "there are no logs to read here")
        return self._history


def made(
    history: History, incident: Incident, form: Form, now: float, *, notes: bool = False
) -> Report:
    """The report of an incident. Blocks."""
    facts = history.reporting.facts(incident, now, notes=notes)
    key = ""
    if form == "zip":
        signer = history.signer()
        data, key = package(facts, history.logs(), signer), str(signer.verifier)
    else:
        data = (markdown(facts) if form == "md" else html(facts)).encode()
    return Report(
        name=f"incident-{incident.id}.{form}", media_type=_MEDIA[form], data=data, key=key
    )
