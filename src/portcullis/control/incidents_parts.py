"""What incidents stand on, and what keeps others from undoing them meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from portcullis.audit.note import Signer
from portcullis.config import Approvals
from portcullis.config.incidents import Incidents as Settings
from portcullis.core.errors import Problem
from portcullis.core.incident import Playbook, Subject
from portcullis.core.incident_ports import Findings, IncidentStore, Rotations

if TYPE_CHECKING:  # what reads logs is not loaded to ask whether somebody is held
    from portcullis.review.incident_findings import LogFindings
    from portcullis.review.incident_logs import Open
    from portcullis.review.incident_radius import LogRadius
    from portcullis.review.incident_timeline import LogTimeline
from portcullis.review.incident_report import Reporting


@dataclass(frozen=True, slots=True)
class History:
    """What the logs of a deployment say of a subject. ``logs`` opens them as they are now.

    ``signer`` is the key that archives of reports are signed with, made on first use; it blocks.
    """

    timeline: LogTimeline
    findings: LogFindings
    radius: LogRadius
    reporting: Reporting
    signer: Callable[[], Signer]
    logs: Open


@dataclass(frozen=True, slots=True)
class IncidentParts:
    """Where incidents are, what is asked of the logs and of secrets' sources, and the playbooks.

    ``approvals`` says who may be a second person; ``history`` is what there is to be read beside.
    """

    store: IncidentStore
    rotations: Rotations
    findings: Findings
    playbooks: Mapping[str, Playbook]
    settings: Settings
    approvals: Approvals
    environment: str = "production"
    history: History | None = None
    turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def turn(self, incident: str) -> asyncio.Lock:
        """Whoever changes an incident has this: steps of one incident wait for each other."""
        return self.turns.setdefault(incident, asyncio.Lock())


async def unheld(parts: IncidentParts | None, scope: str, value: str) -> None:
    """Raise Problem PC7063 while an incident is open about an agent or a session.

    Its containment is lifted by reinstating it, or by standing down.
    """
    if parts is None or scope not in {"agent", "session"}:
        return
    found = await asyncio.to_thread(parts.store.of, named(scope, value))
    if found is not None:
        raise Problem("PC7063", f"{scope} {value} is held by incident {found.id}")


def named(scope: str, value: str) -> str:
    """The name of an agent or a session, as ``Subject.name`` has it."""
    subject = Subject(agent="", session=value) if scope == "session" else Subject(agent=value)
    return subject.name
