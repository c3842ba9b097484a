"""The ports around incidents: what the log says of one, what can be rotated, and where it is kept.

Times are seconds since the epoch. Everything that reads logs is bounded: nobody's history makes a
page or a list without end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from portcullis.core.incident import Access, Drawn, Incident, Phase, Rotated, Subject


class Rotations(Protocol):
    """Which credentials a subject could have had, and how each is made worthless."""

    async def access(self, subject: Subject, since: float) -> Sequence[Access]:
        """Each credential once, by its reference. Raises Problem when it cannot be known."""
        ...

    async def rotate(self, reference: str) -> Rotated:
        """Have a credential rotated, and see that it is another. Never raises for its failure.

        It may be asked again for the same one: after a fault, or after a crash half-way.
        """
        ...


class Findings(Protocol):
    """What the logs say of a subject and a human has to judge."""

    async def draw(self, subject: Subject, since: float, until: float) -> Drawn:
        """Everything that is to be judged, from all logs of the deployment.

        The same logs give the same answer. Raises Problem PC6002 when a log is damaged.
        """
        ...


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened: entry ``index`` of ``log``, so that it can be proven.

    ``kind`` groups it for filters; ``text`` says it for people, in names and figures.
    """

    id: str
    at: float
    kind: str
    log: str
    index: int
    text: str
    name: str = ""
    outcome: str = ""
    code: str = ""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows in order of time; ``next`` is the cursor of what follows, empty at the end."""

    rows: tuple[Row, ...]
    next: str = ""


class Timeline(Protocol):
    """What happened to and through a subject, drawn from all logs of the deployment."""

    async def page(
        self,
        subject: Subject,
        since: float,
        until: float,
        *,
        kinds: Sequence[str] = (),
        cursor: str = "",
        limit: int = 100,
    ) -> Page:
        """One page, of these kinds or of all. Raises Problem PC3051 for a foreign cursor."""
        ...


class IncidentStore(Protocol):
    """Incidents, durable. Every method blocks and is one transaction.

    ``open`` keeps a new one, and returns the unresolved one of the same subject instead when there
    is one; ``unresolved`` are all such. ``change`` hands the incident as it stands to ``changed``
    and keeps what comes of it, with the next ``turn``; nobody else writes between. It raises
    Problem PC7060 where there is none, and what ``changed`` raises. ``of`` is the unresolved one
    that an agent or a session has, by its ``Subject.name``. ``page`` is newest first, those before
    the id ``before``, of all subjects where none is named.
    """

    def open(self, incident: Incident) -> Incident: ...
    def unresolved(self) -> tuple[Incident, ...]: ...
    def get(self, incident: str) -> Incident | None: ...
    def of(self, subject: str) -> Incident | None: ...
    def change(self, incident: str, changed: Callable[[Incident], Incident]) -> Incident: ...
    def page(
        self, phases: Sequence[Phase], subject: str, before: str, limit: int
    ) -> tuple[Incident, ...]: ...


class Probations(Protocol):
    """Who is on probation: O(1), in memory, asked on every call."""

    def factor(self, agent: str) -> float:
        """How much of each limit the agent has: 1.0 without a probation, never 0."""
        ...
