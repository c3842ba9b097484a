"""Deployments with a past: logs that hold what a test says, projected into a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from databases import new_database
from portcullis.audit.export.source import Source
from portcullis.audit.log import open_log
from portcullis.audit.verify import own_verifier
from portcullis.core.event import Event, EventType
from portcullis.core.incident import Subject
from portcullis.review.incident_findings import LogFindings
from portcullis.review.incident_logs import Logs
from portcullis.review.incident_meaning import Meaning
from portcullis.review.incident_radius import LogRadius
from portcullis.review.incident_timeline import LogTimeline
from portcullis.store.happened import SqlHappened
from portcullis.store.projection import Projector, SqlProjection
from sealers import sealer_at

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SHOP = Subject(agent="shop")


def second(at: float) -> float:
    """A time of the past, in seconds since the epoch."""
    return (BEGAN + timedelta(seconds=at)).timestamp()


class Past:
    """What happened: told second by second, in one or more logs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.events: dict[str, list[Event]] = {}
        self.engine = new_database(self.state / "portcullis.db")
        self.happened = SqlHappened(self.engine)
        self.meaning = Meaning()
        self._count = 0

    def event(self, at: float, kind: str, log: str = "gate", **fields: Any) -> Event:
        """Something that happened; told to the log when it is written."""
        self._count += 1
        made = Event(
            v=1,
            id=f"{self._count:032x}",
            time=BEGAN + timedelta(seconds=at),
            type=EventType(kind),
            gateway=f"example.org/{log}",
            **fields,
        )
        self.events.setdefault(log, []).append(made)
        return made

    def call(self, at: float, tool: str = "crm.read", log: str = "gate", **fields: Any) -> Event:
        """An allowed call of the shop's agent, unless the fields say otherwise."""
        server, _, name = tool.partition(".")
        given = {
            "principal_kind": "agent",
            "principal": "shop",
            "credential": "svid:01",
            "session": "s1",
            "source": "10.0.0.5:4711",
            "action": "tool",
            "method": "tools/call",
            "server": server,
            "name": name,
            "risk": "read",
            "verdict": "allow",
            "approval": "not_required",
        }
        return self.event(at, "tool_call", log, **{**given, **fields})

    def admin(self, at: float, method: str, log: str = "gate", **fields: Any) -> Event:
        """Something that an operator did."""
        given = {"principal_kind": "operator", "principal": "olga", "verdict": "allow"}
        return self.event(at, "admin", log, method=method, **{**given, **fields})

    @property
    def places(self) -> dict[str, Path]:
        """Where the logs lie."""
        return {
            name: self.state / "log" if name == "gate" else self.state / "logs" / name
            for name in self.events
        }

    def written(self, *, projected: bool = True) -> Past:
        """All of it in the logs, and in the database."""
        for name, place in self.places.items():
            keys = self.state / "keys" / name
            with open_log(place, keys, f"example.org/{name}", sealer=sealer_at(self.root)) as log:
                for one in self.events[name]:
                    log.enqueue(one)
        self.events = {name: [] for name in self.events}
        for name, place in self.places.items() if projected else ():
            projector = Projector(
                SqlProjection(self.engine), name, Source(place, own_verifier(place))
            )
            while projector.step():
                pass
        return self

    def logs(self) -> Logs:
        """The logs as they are now."""
        return Logs(self.places)

    @property
    def timeline(self) -> LogTimeline:
        """Over all of it."""
        return LogTimeline(self.happened, self.logs)

    @property
    def findings(self) -> LogFindings:
        """Over all of it."""
        return LogFindings(self.happened, self.logs, lambda: self.meaning)

    @property
    def radius(self) -> LogRadius:
        """Over all of it."""
        return LogRadius(self.happened, self.logs, lambda: self.meaning)

    def close(self) -> None:
        """Let the database go."""
        self.engine.dispose()
