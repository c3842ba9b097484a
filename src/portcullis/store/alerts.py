"""Alerts over SQL: the ``AlertStore`` and ``AlertChanges`` ports, and where rules are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    String,
    and_,
    cast,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from portcullis.audit.export.source import Position
from portcullis.core.alert import (
    LEVELS,
    UNRESOLVED,
    Alert,
    Found,
    Hears,
    Silence,
    State,
    Step,
    Verb,
    Wanted,
    after,
)
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.oversight.alerts.gathering import ended, silenced
from portcullis.oversight.notices_alerts import ALERT
from portcullis.store.alerts_putting import ENDED, Putting, decode, keep
from portcullis.store.dialect import alone, writing
from portcullis.store.tables import (
    ALERT_MEMORY,
    ALERT_POSITIONS,
    ALERT_SILENCES,
    ALERTS,
    NOTICE_SUBJECTS,
)

_encode: Final = msgspec.json.Encoder().encode
_silence: Final = msgspec.json.Decoder(Silence).decode
_ROW: Final = ALERTS.c
_KEPT: Final = 1
_UNRESOLVED: Final = tuple(one.value for one in UNRESOLVED)
_LATE: Final = 3600.0
"""For so long after it was opened a channel is told of what its rule ended before it could be."""
_LOOKED_AT: Final = 500
"""Most alerts that are escalated, or end by themselves, in one look."""


class SqlAlerts:
    """An adapter of ``core.alert_ports``. Every method blocks; any process may use it.

    ``gather`` is for how many seconds after the last time what is raised again is the same alert.
    """

    def __init__(
        self, engine: Engine, clock: Clock, new_id: Callable[[], str], gather: float
    ) -> None:
        self._engine = engine
        self._writing = writing(engine, "alerts")
        self._clock = clock
        self._new_id = new_id
        self._gather = gather

    def put(self, found: Sequence[Found], places: Mapping[str, int]) -> tuple[Alert, ...]:
        """See AlertStore."""
        now = self._clock.now()
        with self._writing.begin() as connection:
            silences = _silences(connection, now)
            putting = Putting(connection, found, silences, now, self._gather, self._new_id)
            told = putting.put()
            for log, taken in places.items():
                here = ALERT_POSITIONS.c.log == log
                done = update(ALERT_POSITIONS).where(here).values(taken=taken)
                if not connection.execute(done).rowcount:
                    fresh = Position()
                    values = {"log": log, "next": fresh.next, "root": fresh.root, "taken": taken}
                    connection.execute(insert(ALERT_POSITIONS).values(values))
        return told

    def taken(self) -> dict[str, int]:
        """See AlertStore."""
        row = ALERT_POSITIONS.c
        with self._engine.connect() as connection:
            return {one.log: one.taken for one in connection.execute(select(row.log, row.taken))}

    def changes(self, channel: str, hears: Sequence[Hears], limit: int) -> tuple[Alert, ...]:
        """See AlertChanges."""
        noted = NOTICE_SUBJECTS.c
        own = and_(noted.channel == channel, noted.subject == literal(ALERT) + _ROW.id)
        new = select(_ROW.document).where(~exists().where(own))
        there = new.where(
            _ROW.state.in_(_UNRESOLVED),
            _ROW.told == 1,
            or_(false(), *map(_heard, hears)),
        )
        late = new.where(
            _ROW.opened_at > self._clock.now() - _LATE,
            _ROW.told == ENDED,
            or_(false(), *(_ROW.level >= one.least for one in hears if not one.step)),
        )
        more = (
            select(_ROW.document)
            .join_from(NOTICE_SUBJECTS, ALERTS, own)
            .where(noted.open == 1, noted.stage != cast(_ROW.turn, String))
        )
        with self._engine.connect() as connection:
            rows = [
                row
                for query in (there, late, more)
                for row in connection.execute(
                    query.order_by(_ROW.level.desc(), _ROW.opened_at).limit(limit)
                ).scalars()
            ]
        found = sorted(map(decode, rows), key=lambda one: (-LEVELS[one.level], one.opened_at))
        return tuple(found[:limit])

    def page(self, wanted: Wanted, before: str, limit: int) -> tuple[Alert, ...]:
        """See AlertStore."""
        fits = [_ROW.id < before] if before else []
        if len(wanted.states) < len(State):
            fits.append(_ROW.state.in_([one.value for one in wanted.states]))
        if wanted.level is not None:
            fits.append(_ROW.level >= LEVELS[wanted.level])
        if wanted.rule:
            fits.append(_ROW.rule == wanted.rule)
        query = select(_ROW.document).where(*fits).order_by(_ROW.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return tuple(decode(one) for one in connection.execute(query).scalars())

    def get(self, alert: str) -> Alert | None:
        """See AlertStore."""
        with self._engine.connect() as connection:
            return _found(connection, alert)

    def move(self, alert: str, verb: Verb, *, by: str, reason: str) -> Alert:
        """See AlertStore."""
        with self._writing.begin() as connection:
            found = _found(connection, alert)
            if found is None:
                raise Problem("PC8020", f"there is no alert {alert}")
            now = self._clock.now()
            moved = msgspec.structs.replace(
                found,
                state=after(found.state, verb),
                turn=found.turn + 1,
                by=by,
                reason=reason,
                settled_at=now,
            )
            keep(connection, moved)
            return moved

    def unheeded(self, steps: Sequence[Step]) -> tuple[Alert, ...]:
        """See AlertStore."""
        if not steps:
            return ()
        now = self._clock.now()
        due = (
            and_(_ROW.escalated == number, _ROW.opened_at <= now - step.after)
            for number, step in enumerate(steps)
        )
        query = (
            select(_ROW.document)
            .where(_ROW.state == State.OPEN.value, _ROW.told == 1, or_(*due))
            .order_by(_ROW.level.desc(), _ROW.opened_at)
        )
        with self._engine.connect() as connection:
            silences = _silences(connection, now)
            some = map(decode, connection.execute(query).scalars())
            fitting = (
                one
                for one in some
                if max(one.heard_at, one.opened_at) + steps[one.escalated].after <= now
                and not silenced(one, silences)
            )
            return tuple(islice(fitting, _LOOKED_AT))  # those that wait keep no other waiting

    def escalate(self, alert: str, steps: int, *, told: bool) -> Alert | None:
        """See AlertStore."""
        with self._writing.begin() as connection:
            found = _found(connection, alert)
            if found is None or found.state is not State.OPEN or found.escalated >= steps:
                return None
            turn = found.turn + told
            moved = msgspec.structs.replace(found, escalated=steps, turn=turn)
            keep(connection, moved)
            return moved

    def quiet(self) -> tuple[Alert, ...]:
        """See AlertStore."""
        query = (
            select(_ROW.document)
            .where(_ROW.quiet_at <= self._clock.now(), _ROW.state.in_(_UNRESOLVED))
            .order_by(_ROW.quiet_at)
            .limit(_LOOKED_AT)
        )
        with self._engine.connect() as connection:
            return tuple(decode(one) for one in connection.execute(query).scalars())

    def end(self, alert: str, reason: str) -> Alert | None:
        """See AlertStore."""
        now = self._clock.now()
        with self._writing.begin() as connection:
            found = _found(connection, alert)
            if found is None or found.state is State.RESOLVED:
                return None
            over = ended(found, now, reason)
            keep(connection, over)
            return over

    def silences(self) -> tuple[Silence, ...]:
        """See AlertStore."""
        with self._engine.connect() as connection:
            return _silences(connection, self._clock.now())

    def silence(self, silence: Silence) -> None:
        """See AlertStore."""
        values = {"id": silence.id, "until": silence.until, "document": _encode(silence)}
        with self._writing.begin() as connection:
            connection.execute(insert(ALERT_SILENCES).values(values))

    def unsilence(self, silence: str) -> bool:
        """See AlertStore."""
        row = ALERT_SILENCES.c
        here = delete(ALERT_SILENCES).where(row.id == silence, row.until > self._clock.now())
        with self._writing.begin() as connection:
            return connection.execute(here).rowcount == 1

    def open(self) -> int:
        """How many alerts nobody has taken on."""
        query = select(func.count()).where(_ROW.state == State.OPEN.value)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def memory(self) -> tuple[bytes, dict[str, Position]] | None:
        """What the rules remembered, and how far each log was read then; None for nothing yet."""
        row = ALERT_POSITIONS.c
        with self._engine.connect() as connection:
            kept = connection.execute(select(ALERT_MEMORY.c.memory)).scalar_one_or_none()
            if kept is None:
                return None
            places = connection.execute(select(row.log, row.next, row.root))
            return kept, {one.log: Position(one.next, one.root) for one in places}

    def remember(self, memory: bytes, places: Mapping[str, tuple[Position, int]]) -> None:
        """Keep what the rules remember: of each log, where it was read to, and what was taken."""
        with self._writing.begin() as connection:
            connection.execute(delete(ALERT_MEMORY))
            connection.execute(insert(ALERT_MEMORY).values(id=_KEPT, memory=memory))
            connection.execute(delete(ALERT_POSITIONS))
            for log, (place, taken) in places.items():
                values = {"log": log, "next": place.next, "root": place.root, "taken": taken}
                connection.execute(insert(ALERT_POSITIONS).values(values))

    def forget(self, before: float) -> None:
        """Drop alerts of which nothing came since then, and silences that ended."""
        gone = select(literal(ALERT) + _ROW.id).where(_ROW.last_at < before)
        with self._writing.begin() as connection:
            alone(connection, "notices")
            connection.execute(delete(NOTICE_SUBJECTS).where(NOTICE_SUBJECTS.c.subject.in_(gone)))
            connection.execute(delete(ALERTS).where(_ROW.last_at < before))
            connection.execute(delete(ALERT_SILENCES).where(ALERT_SILENCES.c.until < before))


def _heard(one: Hears) -> ColumnElement[bool]:
    """Whether a channel that hears of these hears of an alert that is not resolved."""
    loud = _ROW.level >= one.least
    if not one.step:
        return loud
    return and_(loud, _ROW.escalated >= one.step, _ROW.state == State.OPEN.value)


def _found(connection: Connection, alert: str) -> Alert | None:
    query = select(_ROW.document).where(_ROW.id == alert)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else decode(found)


def _silences(connection: Connection, now: float) -> tuple[Silence, ...]:
    row = ALERT_SILENCES.c
    query = select(row.document).where(row.until > now).order_by(row.until)
    return tuple(_silence(one) for one in connection.execute(query).scalars())
