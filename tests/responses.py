"""What incidents ask of others, in memory: secrets to rotate, and findings."""

from portcullis.config import Approvals
from portcullis.config.incidents import Incidents as Settings
from portcullis.control.incidents_parts import IncidentParts
from portcullis.core.incident import Access, Drawn, Finding, Rotated, digest_of
from portcullis.oversight.incidents_playbook import builtin
from portcullis.store.incidents import SqlIncidents


class Rotations:
    """Two secrets, of which one's source can be told; ``broken`` makes that fail."""

    def __init__(self):
        self.broken = False
        self.asked = []
        self.accesses = [
            Access(reference="file:crm", source="file", upstream="crm", why="granted", hook=True),
            Access(reference="env:MAIL", source="env", upstream="mail", why="called", used=5.0),
        ]

    async def access(self, subject, since):
        return self.accesses

    async def rotate(self, reference):
        self.asked.append(reference)
        if self.broken:
            return Rotated(reference=reference, rotated=False, verified=False, fault="PC7071")
        return Rotated(reference=reference, rotated=True, verified=True)


class Findings:
    """Says what ``found`` is; ``asked`` are the periods."""

    def __init__(self):
        self.asked = []
        self.found = tuple(
            Finding(
                id=f"f{number}",
                kind="denied",
                log="gate",
                first=number,
                last=number,
                first_at=1.0,
                last_at=2.0,
                text=f"crm.erase {number}",
            )
            for number in (1, 2)
        )

    async def draw(self, subject, since, until):
        self.asked.append((subject.name, since, until))
        return Drawn(digest=digest_of(self.found), findings=self.found, sizes={"gate": 9})


def incident_parts(engine, **settings):
    """Incidents over a database, with the built-in playbooks."""
    return IncidentParts(
        store=SqlIncidents(engine),
        rotations=Rotations(),
        findings=Findings(),
        playbooks=builtin(),
        settings=Settings(**settings),
        approvals=Approvals(),
    )
