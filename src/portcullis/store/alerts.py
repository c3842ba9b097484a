"""Alerts over SQL: the ``AlertStore`` and ``AlertChanges`` ports, and where rules are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    String,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from portcullis.audit.export.source import Position
from portcullis.core.alert import (
    LEVELS,
    Alert,
    Raised,
    Silence,
    State,
    Verb,
    Wanted,
    after,
)
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.oversight.alerts.gathering import (
    CROWD,
    crowded,
    gathers,
    opened,
    repeated,
    silenced,
)
from portcullis.oversight.notices_alerts import ALERT
from portcullis.store.tables import (
    ALERT_MEMORY,
    ALERT_POSITIONS,
    ALERT_SILENCES,
    ALERTS,
    NOTICE_SUBJECTS,
)

_encode: Final = msgspec.json.Encoder().encode
_alert: Final = msgspec.json.Decoder(Alert).decode
_silence: Final = msgspec.json.Decoder(Silence).decode
_ROW: Final = ALERTS.c
_KEPT: Final = 1


class SqlAlerts:
    """An adapter of ``core.alert_ports``. Every method blocks; any process may use it.

    ``gather`` is for how many seconds after the last time what is raised again is the same alert.
    """

    def __init__(
        self, engine: Engine, clock: Clock, new_id: Callable[[], str], gather: float
    ) -> None:
        self._engine = engine
        self._writing = engine.execution_options(portcullis_immediate=True)
        self._clock = clock
        self._new_id = new_id
        self._gather = gather

    def put(self, raised: Sequence[Raised], places: Mapping[str, int]) -> tuple[Alert, ...]:
        """See AlertStore."""
        now = self._clock.now()
        new: dict[str, Alert] = {}
        with self._writing.begin() as connection:
            silences = _silences(connection, now)
            for one in raised:
                found = self._raise(connection, one, silenced(one, silences), now)
                if found.id in new or found.turn == 1:
                    new[found.id] = found
            for log, taken in places.items():
                here = ALERT_POSITIONS.c.log == log
                done = update(ALERT_POSITIONS).where(here).values(taken=taken)
                if not connection.execute(done).rowcount:
                    fresh = Position()
                    values = {"log": log, "next": fresh.next, "root": fresh.root, "taken": taken}
                    connection.execute(insert(ALERT_POSITIONS).values(values))
        return tuple(new.values())

    def _raise(self, connection: Connection, raised: Raised, silence: str, now: float) -> Alert:
        found = self._same(connection, raised)
        if found is None and self._many(connection, raised.rule, now):
            raised = crowded(raised)
            found = self._same(connection, raised)
        if found is not None:
            again = repeated(found, raised, silence)
            _keep(connection, again)
            return again
        alert = opened(raised, self._new_id(), now, silence)
        own: dict[str, object] = {"id": alert.id, "rule": alert.rule, "opened_at": now}
        own["gathers"] = gathers(raised)
        connection.execute(insert(ALERTS).values(_values(alert) | own))
        return alert

    def _same(self, connection: Connection, raised: Raised) -> Alert | None:
        query = (
            select(_ROW.document)
            .where(
                _ROW.gathers == gathers(raised),
                _ROW.state != State.RESOLVED.value,
                _ROW.last_at > raised.at - self._gather,
            )
            .order_by(_ROW.id.desc())
            .limit(1)
        )
        found = connection.execute(query).scalar_one_or_none()
        return None if found is None else _alert(found)

    def _many(self, connection: Connection, rule: str, now: float) -> bool:
        query = select(func.count()).where(_ROW.rule == rule, _ROW.opened_at > now - self._gather)
        return connection.execute(query).scalar_one() >= CROWD

    def taken(self) -> dict[str, int]:
        """See AlertStore."""
        row = ALERT_POSITIONS.c
        with self._engine.connect() as connection:
            return {one.log: one.taken for one in connection.execute(select(row.log, row.taken))}

    def changes(self, channel: str, least: int, limit: int) -> tuple[Alert, ...]:
        """See AlertChanges."""
        noted = NOTICE_SUBJECTS.c
        own = and_(noted.channel == channel, noted.subject == literal(ALERT) + _ROW.id)
        new = select(_ROW.document).where(
            _ROW.state.in_((State.OPEN.value, State.ACKNOWLEDGED.value)),
            _ROW.level >= least,
            _ROW.told == 1,
            ~exists().where(own),
        )
        more = (
            select(_ROW.document)
            .join_from(NOTICE_SUBJECTS, ALERTS, own)
            .where(noted.open == 1, noted.stage != cast(_ROW.turn, String))
        )
        with self._engine.connect() as connection:
            rows = [
                row
                for query in (new, more)
                for row in connection.execute(
                    query.order_by(_ROW.level.desc(), _ROW.opened_at).limit(limit)
                ).scalars()
            ]
        found = sorted(map(_alert, rows), key=lambda one: (-LEVELS[one.level], one.opened_at))
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
            return tuple(_alert(one) for one in connection.execute(query).scalars())

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
            moved = msgspec.structs.replace(
                found,
                state=after(found.state, verb),
                turn=found.turn + 1,
                by=by,
                reason=reason,
                settled_at=self._clock.now(),
            )
            _keep(connection, moved)
            return moved

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
            connection.execute(delete(NOTICE_SUBJECTS).where(NOTICE_SUBJECTS.c.subject.in_(gone)))
            connection.execute(delete(ALERTS).where(_ROW.last_at < before))
            connection.execute(delete(ALERT_SILENCES).where(ALERT_SILENCES.c.until < before))


def _found(connection: Connection, alert: str) -> Alert | None:
    query = select(_ROW.document).where(_ROW.id == alert)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else _alert(found)


def _silences(connection: Connection, now: float) -> tuple[Silence, ...]:
    row = ALERT_SILENCES.c
    query = select(row.document).where(row.until > now).order_by(row.until)
    return tuple(_silence(one) for one in connection.execute(query).scalars())


def _values(alert: Alert) -> dict[str, object]:
    return {
        "level": LEVELS[alert.level],
        "state": alert.state.value,
        "last_at": alert.last_at,
        "turn": alert.turn,
        "told": int(not alert.silence),
        "document": _encode(alert),
    }


def _keep(connection: Connection, alert: Alert) -> None:
    connection.execute(update(ALERTS).where(_ROW.id == alert.id).values(_values(alert)))
