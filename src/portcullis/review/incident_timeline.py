"""What happened to and through a subject, page by page: ``core.incident_ports.Timeline``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from portcullis.core.cursor import cursor_of, key_of
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.core.incident import Subject
from portcullis.core.incident_log_ports import Happened, Key, Spot
from portcullis.core.incident_ports import Page, Row
from portcullis.core.principal import PrincipalKind
from portcullis.review.incident_about import about
from portcullis.review.incident_logs import BATCH, Open
from portcullis.review.incident_words import KINDS, kind_of, line, tool_of

MOST: Final = 200
"""Rows of one page."""
WALK: Final = 20_000
"""Rows of the history that one page looks at."""
FOREVER: Final = 1e12
"""A time after all others, in seconds since the epoch."""
_FINDING: Final = "finding"
_decoder: Final = msgspec.json.Decoder(tuple[float, str, int])


class LogTimeline:
    """Drawn from all logs of a deployment, as far as they are projected: a moment behind.

    A page may hold fewer rows than asked for, and none, although something follows: each looks at
    a bounded piece.
    """

    def __init__(self, happened: Happened, logs: Open, *, walk: int = WALK) -> None:
        self._happened = happened
        self._logs = logs
        self._walk = walk

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
        """One page, oldest first; ``until`` is 0 for now. See Timeline.

        Raises Problem PC3051 for a foreign cursor, PC1020 for a kind that there is not, PC6002
        when a log is damaged.
        """
        return await asyncio.to_thread(
            self.read, subject, since, until, tuple(kinds), cursor, limit
        )

    def read(
        self,
        subject: Subject,
        since: float,
        until: float,
        kinds: tuple[str, ...] = (),
        cursor: str = "",
        limit: int = 100,
    ) -> Page:
        """The same. Blocks."""
        unknown = [one for one in kinds if one not in KINDS]
        if unknown:
            raise Problem("PC1020", f"there is no kind of event that is called so: {unknown[0]!a}")
        most = max(1, min(limit, MOST))
        after: Key | None = key_of(cursor, _decoder)
        found: list[Spot] = []
        looked, size = 0, most
        while True:
            some = self._happened.spots(subject, since, until or FOREVER, after, size)
            for spot in some:
                looked += 1
                if not kinds or _is(spot, kinds):
                    found.append(spot)
                if len(found) == most or looked == self._walk:
                    return Page(rows=self._rows(subject, found), next=cursor_of(*spot.key))
            if len(some) < size:
                return Page(rows=self._rows(subject, found))
            after, size = some[-1].key, BATCH

    def _rows(self, subject: Subject, found: Sequence[Spot]) -> tuple[Row, ...]:
        if not found:
            return ()
        logs = self._logs()
        told = [(spot, logs.event(spot.log, spot.number)) for spot in found]
        return tuple(row_of(spot, event) for spot, event in told if not _stranger(subject, event))


def _stranger(subject: Subject, event: Event | None) -> bool:
    """Whether it is by somebody else of the agent's name, and has nothing to do with it."""
    if event is None or subject.session or event.principal != subject.agent:
        return False
    return event.principal_kind != PrincipalKind.AGENT and subject.name not in about(event)


def row_of(spot: Spot, event: Event | None) -> Row:
    """A row, with what the log's own entry says; None of one that was pruned."""
    return Row(
        id="" if event is None else event.id,
        at=spot.at,
        kind=kind_of(spot),
        log=spot.log,
        index=spot.number,
        text="the log has no such entry any more: it was pruned" if event is None else line(event),
        name="" if event is None else tool_of(event),
        outcome="" if event is None else event.verdict,
        code="" if event is None else event.code,
    )


def _is(spot: Spot, kinds: Sequence[str]) -> bool:
    return kind_of(spot) in kinds or (_FINDING in kinds and spot.found)
