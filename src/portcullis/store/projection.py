"""Where in the audit logs to look: their events as rows, beside the position they reach to.

The logs are the truth; rows are made from them and made again when they disagree. Rows at or
behind a log's position do not count, so that a rebuilding that was interrupted shows nothing old.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    case,
    delete,
    distinct,
    exists,
    func,
    insert,
    select,
)

from portcullis.audit.export.source import Position, Source, event_of
from portcullis.audit.query import Filter
from portcullis.core.call import Action
from portcullis.core.errors import Problem
from portcullis.core.event import NOT_REQUIRED, Event, EventType
from portcullis.review.incident_about import about
from portcullis.store import reviews
from portcullis.store.dialect import alone, storable, writing
from portcullis.store.tables import AUDIT_ABOUT, AUDIT_EVENTS, AUDIT_FINDINGS, AUDIT_POSITIONS

BATCH: Final = 256
"""Most entries in one transaction: the gate's other writers wait for it some ten milliseconds."""

_NAME: Final = "projection"
_FOUND: Final = 10_000
"""Most numbers that are held in memory for whoever asks."""
_LONGEST: Final = 2000
"""Bytes: an index of PostgreSQL takes 2704 in a row. Whoever asks for more gets more than that."""
_EQUAL: Final = ("type", "principal", "session", "verdict", "code", "risk", "trace", "user",
                 "credential", "method")  # fmt: skip
_DECISIONS: Final = (EventType.DECISION, EventType.TOOL_CALL, EventType.LLM_CALL)
_REACHES: Final = (Action.TOOL, Action.MODEL, Action.RESOURCE, Action.PROMPT, Action.EGRESS)


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent asked of one thing for one user and subject, over all its sessions.

    ``user`` and ``subject`` are commitments, empty outside a session; ``first`` and ``last`` are
    seconds since the epoch.
    """

    agent: str
    server: str
    action: str
    name: str
    user: str
    subject: str
    allowed: int
    denied: int
    sessions: int
    first: float
    last: float


class SqlProjection:
    """The projection over SQL. Every method blocks: call it on a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def position(self, log: str) -> Position:
        """How far a log is projected."""
        with self._engine.connect() as connection:
            return _position(connection, log)

    def put(
        self,
        log: str,
        reached: Position,
        events: Sequence[tuple[int, Event | None]],
        following: Position,
    ) -> bool:
        """Add events and move the position, at once; False when that is not at ``reached``.

        An event that is None is an entry that cannot be read: it has no row.
        """
        rows = [_row(log, number, event) for number, event in events if event is not None]
        findings = [
            {"log": log, "number": number, "type": kind}
            for number, event in events
            if event is not None
            for kind in dict.fromkeys(storable(one[:256]) for one in event.finding_types())
        ]
        told = [
            {"log": log, "number": number, "subject": one, "at": event.time.timestamp()}
            for number, event in events
            if event is not None
            for one in dict.fromkeys(map(storable, about(event)))
        ]
        with self._writing.begin() as connection:
            alone(connection, _NAME, log)
            if _position(connection, log) != reached:
                return False
            for table in (AUDIT_EVENTS, AUDIT_FINDINGS, AUDIT_ABOUT):
                connection.execute(
                    delete(table).where(
                        table.c.log == log,
                        table.c.number >= reached.next,
                        table.c.number < following.next,
                    )
                )
            if rows:
                connection.execute(insert(AUDIT_EVENTS), rows)
            if findings:
                connection.execute(insert(AUDIT_FINDINGS), findings)
            if told:
                connection.execute(insert(AUDIT_ABOUT), told)
            reviews.project(connection, log, events, reached.next, following.next)
            _move(connection, log, following)
        return True

    def forget(self, log: str, numbers: Sequence[int]) -> None:
        """Drop the rows of entries that are pruned."""
        for start in range(0, len(numbers), BATCH):
            some = numbers[start : start + BATCH]
            with self._writing.begin() as connection:
                alone(connection, _NAME, log)
                for table in (AUDIT_EVENTS, AUDIT_FINDINGS, AUDIT_ABOUT):
                    here = table.c.log == log, table.c.number.in_(some)
                    connection.execute(delete(table).where(*here))

    def restart(self, log: str) -> None:
        """Forget a log's position: its rows no longer count, and are replaced one by one."""
        with self._writing.begin() as connection:
            alone(connection, _NAME, log)
            reviews.restart(connection, log)
            _move(connection, log, Position())

    def find(self, log: str, wanted: Filter, reached: Position) -> Iterator[int]:
        """The numbers of the entries before ``reached`` that fit, ascending.

        No transaction is open while the caller looks at one.
        """
        query = (
            select(AUDIT_EVENTS.c.number)
            .where(AUDIT_EVENTS.c.log == log, *_within(reached.next), *_fits(wanted))
            .order_by(AUDIT_EVENTS.c.number)
            .limit(_FOUND)
        )
        found: Sequence[int] = (-1,)
        while found:
            with self._engine.connect() as connection:
                page = query.where(AUDIT_EVENTS.c.number > found[-1])
                found = connection.execute(page).scalars().all()
            yield from found

    def access(self, agent: str, since: float = 0.0, *, logs: Collection[str]) -> Iterator[Access]:
        """What an agent has asked for, over these logs and all sessions, since a time."""
        row = AUDIT_EVENTS.c
        what = (row.server, row.action, row.name, row.user, row.subject)
        denied = func.sum(case((row.verdict == "deny", 1), else_=0)).label("denied")
        query = (
            select(
                *what,
                (func.count() - denied).label("allowed"),
                denied,
                func.count(distinct(func.nullif(row.session, ""))).label("sessions"),
                func.min(row.at).label("first"),
                func.max(row.at).label("last"),
            )
            .join(AUDIT_POSITIONS, row.log == AUDIT_POSITIONS.c.log)
            .where(
                row.log.in_(logs),
                *_within(AUDIT_POSITIONS.c.next),
                row.principal == agent,
                row.at >= since,
                row.type.in_(_DECISIONS),
                row.action.in_(_REACHES),
            )
            .group_by(*what)
            .order_by(*what)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        for found in rows:
            yield Access(agent=agent, **found)


class Projector:
    """Brings the projection of one log up to date. Blocks."""

    def __init__(self, projection: SqlProjection, log: str, source: Source) -> None:
        self._projection = projection
        self._log = log
        self._source = source
        self._checked: Position | None = None

    @property
    def lag(self) -> int:
        """How many entries were not projected, when it last looked."""
        return self._source.size - (self._checked.next if self._checked else 0)

    def reached(self) -> Position:
        """How far it is, if the log still begins with that; else the beginning.

        Raises Problem PC6005, PC7005 as ``Source`` does.
        """
        self._source.refresh()
        position = self._projection.position(self._log)
        if position == self._checked or self._source.holds(position):
            self._checked = position
            return position
        return Position()

    def step(self) -> int:
        """Project the next entries; how many they were, 0 when there are none.

        A position of another log begins anew. Raises as ``reached`` does.
        """
        position = self.reached()
        if position != self._checked:
            self._projection.restart(self._log)
            self._checked = position
        taken = self._source.read(position.next, BATCH)
        if not taken:
            return 0
        following = self._source.position(taken[-1][0] + 1)
        events = [(number, _readable(entry)) for number, entry in taken]  # a pruned one has none
        if self._projection.put(self._log, position, events, following):
            self._checked = following
        return len(taken)

    def restart(self) -> None:
        """Make it anew from the beginning."""
        self._projection.restart(self._log)


def _readable(entry: bytes) -> Event | None:
    try:
        return event_of(entry)
    except Problem:
        return None


def _position(connection: Connection, log: str) -> Position:
    query = select(AUDIT_POSITIONS).where(AUDIT_POSITIONS.c.log == log)
    row = connection.execute(query).one_or_none()
    return Position() if row is None else Position(row.next, row.root)


def _move(connection: Connection, log: str, position: Position) -> None:
    connection.execute(delete(AUDIT_POSITIONS).where(AUDIT_POSITIONS.c.log == log))
    values = {"log": log, "next": position.next, "root": position.root}
    connection.execute(insert(AUDIT_POSITIONS).values(values))


def _row(log: str, number: int, event: Event) -> dict[str, Any]:
    return {
        "log": log,
        "number": number,
        "at": event.time.timestamp(),
        "type": event.type.value,
        "principal": _text(event.principal),
        "session": _text(event.session),
        "credential": _text(event.credential),
        "user": event.commitments.get("user", ""),
        "subject": event.commitments.get("subject", ""),
        "action": _text(event.action),
        "method": _text(event.method),
        "server": _text(event.server),
        "name": _text(event.name),
        "risk": event.risk,
        "verdict": event.verdict,
        "code": event.code,
        "trace": _text(event.trace_id),
        "approval": "" if event.approval == NOT_REQUIRED else event.approval,
    }


def _text(value: str) -> str:
    """What a caller chose, as any database takes it into an index."""
    return storable(value).encode()[:_LONGEST].decode(errors="ignore")


def _within(end: int | ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
    """Which rows count: those of entries that are projected."""
    return AUDIT_EVENTS.c.number >= 0, AUDIT_EVENTS.c.number < end


def _fits(wanted: Filter) -> list[ColumnElement[bool]]:
    row = AUDIT_EVENTS.c
    fits = [row[name] == _text(value) for name in _EQUAL if (value := getattr(wanted, name))]
    if wanted.tool:
        qualified = row.server + "." + row.name
        fits.append((row.name == wanted.tool) | (qualified == wanted.tool))
    if wanted.finding:
        same = and_(AUDIT_FINDINGS.c.log == row.log, AUDIT_FINDINGS.c.number == row.number)
        fits.append(exists().where(same, AUDIT_FINDINGS.c.type == wanted.finding))
    if wanted.since is not None:
        fits.append(row.at >= wanted.since.timestamp())
    if wanted.until is not None:
        fits.append(row.at < wanted.until.timestamp())
    return fits
