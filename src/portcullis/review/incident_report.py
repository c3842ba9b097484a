"""What an incident's report says: facts, drawn once, from which each form of it is made.

No content: names, figures, the log's commitments, and what operators gave as their reasons. Notes
are shown by their digests, unless they are asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from portcullis.core.incident import Incident, Note
from portcullis.core.incident_log_ports import Happened, Spot
from portcullis.core.incident_ports import Row
from portcullis.review.incident_logs import Open, walked
from portcullis.review.incident_radius import LogRadius, Radius
from portcullis.review.incident_timeline import FOREVER, row_of
from portcullis.review.incident_words import kind_of

WALK: Final = 100_000
"""Events that are counted, the newest."""
ROWS: Final = 200
"""Rows that are shown: the newest of those that matter."""
_LAST: Final = 1.0
"""Seconds after the last step's end in which its own record may stand."""
_PLAIN: Final = frozenset({"read", "result", "model"})
"""Kinds of which a report has the number and no rows."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is reported. ``made`` is when, in seconds since the epoch; ``version`` the program's.

    ``logs`` has each log's public key. ``counts`` are by kind, over the newest ``counted`` events
    up to the incident's end; there are older ones when ``whole`` is False. ``rows`` are the newest
    of those that are not mere reading.
    """

    made: float
    version: str
    incident: Incident
    logs: dict[str, str]
    counts: dict[str, int]
    counted: int
    whole: bool
    rows: tuple[Row, ...]
    radius: Radius

    def marks(self) -> dict[str, set[int]]:
        """The entries that are named, by log."""
        found: dict[str, set[int]] = {}
        for log, index in self._marks():
            found.setdefault(log, set()).add(index)
        return found

    def _marks(self) -> Iterator[tuple[str, int]]:
        for row in self.rows:
            yield row.log, row.index
        for judged in self.incident.findings or ():
            one = judged.finding
            yield one.log, one.first
            yield one.log, one.last
        for reached in self.radius.reached:
            yield reached.log, reached.first
            yield reached.log, reached.last


class Reporting:
    """Draws the facts of incidents. Blocks."""

    def __init__(self, happened: Happened, logs: Open, radius: LogRadius, version: str) -> None:
        self._happened = happened
        self._logs = logs
        self._radius = radius
        self._version = version

    def facts(self, incident: Incident, now: float, *, notes: bool = False) -> Facts:
        """What is to be said of an incident. Raises Problem PC6002 when a log is damaged."""
        counts: Counter[str] = Counter()
        shown: list[Spot] = []
        counted = 0
        subject, since = incident.subject, incident.since
        for spot in walked(self._happened, subject, since, _end(incident), WALK, "newest"):
            counted += 1
            kind = kind_of(spot)
            counts[kind] += 1
            if len(shown) < ROWS and (kind not in _PLAIN or spot.found):
                shown.append(spot)
        logs = self._logs()
        return Facts(
            made=now,
            version=self._version,
            incident=incident if notes else replace(incident, notes=_hidden(incident.notes)),
            logs=logs.keys(),
            counts=dict(sorted(counts.items())),
            counted=counted,
            whole=counted < WALK,
            rows=tuple(row_of(one, logs.event(one.log, one.number)) for one in reversed(shown)),
            radius=self._radius.draw(subject, since, incident.until),
        )


def _end(incident: Incident) -> float:
    """Until when its history goes: what an agent does after its reinstatement is no part of it."""
    if not incident.over:
        return FOREVER
    return max(step.ended_at for step in incident.steps) + _LAST


def _hidden(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """Notes without what they say; the log has the same digests."""
    return tuple(replace(one, text=f"sha256:{_digest(one.text)}") for one in notes)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
