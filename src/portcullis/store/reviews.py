"""The queue of calls to be looked at afterwards, over SQL: a projection of the audit logs.

Entries and what was done about them are rows of their own, so that the order in which several
logs are read does not matter. Only rows that the logs have been read as far as count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
)
from sqlalchemy.sql.expression import FromClause

from portcullis.core.event import Event
from portcullis.core.review import Act, Entry, State, Verb, Wanted, act_of, entry_of
from portcullis.store.dialect import alone, storable, writing
from portcullis.store.tables import AUDIT_EVENTS, AUDIT_POSITIONS, REVIEW_ACTS, REVIEWS

_EARLY: Final = -1
"""The number of an act that is on record, before the log is read as far."""
_BATCH: Final = 256
_ACTS: Final = "reviews"
_MADE: Final = tuple(one.name for one in REVIEWS.c if one.name != "number")


def project(
    connection: Connection,
    log: str,
    events: Sequence[tuple[int, Event | None]],
    first: int,
    following: int,
) -> None:
    """Have the rows of these entries of a log be those of its events, within a transaction.

    An entry that cannot be read is one that was pruned: what its row says stays, of a call until
    it is closed.
    """
    gone = [number for number, event in events if event is None]
    read = [(number, event) for number, event in events if event is not None]
    entries = [
        msgspec.structs.asdict(entry) | {"number": number}
        for number, event in read
        if (entry := entry_of(log, event)) is not None
    ]
    acts = [(number, act) for number, event in read if (act := act_of(event)) is not None]
    column = REVIEWS.c.number
    here = [REVIEWS.c.log == log, column >= first, column < following]
    connection.execute(delete(REVIEWS).where(*here, column.not_in(gone)))
    column = REVIEW_ACTS.c.number
    here = [REVIEW_ACTS.c.log == log, column >= first, column < following]
    connection.execute(delete(REVIEW_ACTS).where(*here, column.not_in(gone)))
    if acts:
        alone(connection, _ACTS)
    if entries:
        rows = [
            {
                name: storable(one[name]) if isinstance(one[name], str) else one[name]
                for name in (*_MADE, "number")
            }
            for one in entries
        ]
        connection.execute(insert(REVIEWS), rows)
    for number, act in acts:
        connection.execute(delete(REVIEW_ACTS).where(REVIEW_ACTS.c.id == act.id))
        _put(connection, log, number, act)


def restart(connection: Connection, log: str) -> None:
    """What counted before a log was read does so no longer: if it is on record, it will be read."""
    early = REVIEW_ACTS.c.log == log, REVIEW_ACTS.c.number < 0
    connection.execute(delete(REVIEW_ACTS).where(*early))


class SqlReviews:
    """An adapter of ``core.review_ports.ReviewStore``. Every method blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, _ACTS)

    def get(self, entry_id: str) -> Entry | None:
        """One entry."""
        with self._engine.connect() as connection:
            found = connection.execute(_entries().where(REVIEWS.c.id == entry_id)).mappings()
            row = found.first()
        return None if row is None else _entry(row)

    def list(self, wanted: Wanted, cursor: str, limit: int) -> tuple[Entry, ...]:
        """The entries after ``cursor`` that are wanted, the oldest first."""
        fits = [REVIEWS.c.id > cursor] if cursor else []
        if wanted.state is not None:
            fits.append(_is(wanted.state))
        if wanted.agent:
            fits.append(REVIEWS.c.agent == wanted.agent)
        if wanted.risk:
            fits.append(REVIEWS.c.risk == wanted.risk)
        return self._found(_entries().where(*fits).order_by(REVIEWS.c.id).limit(limit))

    def due(self, before: float, limit: int) -> tuple[str, ...]:
        """The ids of the open ones from before then of which nobody was reminded."""
        late = _is(State.OPEN), REVIEWS.c.at < before, _reminded().is_(None)
        query = _entries().with_only_columns(REVIEWS.c.id).where(*late)
        with self._engine.connect() as connection:
            found = connection.execute(query.order_by(REVIEWS.c.id).limit(limit))
            return tuple(found.scalars())

    def read(self, log: str, since: int, size: int) -> bool:
        """Whether all acts of a log count that are on record in it."""
        position, act = AUDIT_POSITIONS.c, REVIEW_ACTS.c
        with self._engine.connect() as connection:
            query = select(position.next).where(position.log == log)
            following = connection.execute(query).scalar_one_or_none() or 0
            unread = exists().where(act.log == log, act.number >= following, act.number < size)
            return following >= since and not connection.execute(select(unread)).scalar_one()

    def note(self, log: str, event: Event) -> None:
        """Let an act count that is on record in ``log``; one that was read from it does."""
        act = act_of(event)
        if act is not None:
            known = select(REVIEW_ACTS.c.id).where(REVIEW_ACTS.c.id == act.id)
            with self._writing.begin() as connection:
                if connection.execute(known).first() is None:
                    _put(connection, log, _EARLY, act)

    def trim(self, kept: int) -> int:
        """Drop closed ones: beyond the last ``kept``, and those whose event was pruned."""
        here = REVIEWS.c.log, REVIEWS.c.number
        same = and_(AUDIT_EVENTS.c.log == REVIEWS.c.log, AUDIT_EVENTS.c.number == REVIEWS.c.number)
        closed = _entries().with_only_columns(*here).where(_is(State.CLOSED))
        over = closed.order_by(_LAST.c.at.desc(), REVIEWS.c.id.desc()).offset(kept)
        pruned = closed.where(~exists().where(same))
        with self._engine.connect() as connection:
            gone = {tuple(row) for query in (over, pruned) for row in connection.execute(query)}
        doomed, count = sorted(gone), 0
        for start in range(0, len(doomed), _BATCH):
            some = tuple_(*here).in_(doomed[start : start + _BATCH])
            with self._writing.begin() as connection:  # it may have been reopened meanwhile
                still = [tuple(row) for row in connection.execute(closed.where(some))]
                connection.execute(delete(REVIEWS).where(tuple_(*here).in_(still)))
                count += len(still)
        return count

    def _found(self, query: Select[Any]) -> tuple[Entry, ...]:
        with self._engine.connect() as connection:
            return tuple(_entry(row) for row in connection.execute(query).mappings())


_LAST: Final = REVIEW_ACTS.alias("last")
"""The act that says what an entry is."""


def _put(connection: Connection, log: str, number: int, act: Act) -> None:
    row = msgspec.structs.asdict(act) | {"log": log, "number": number}
    connection.execute(insert(REVIEW_ACTS).values(row))


def _read(table: FromClause) -> ColumnElement[bool]:
    """Whether the log is read as far as a row."""
    position = AUDIT_POSITIONS.c
    return exists().where(position.log == table.c.log, table.c.number < position.next)


def _counts(acts: FromClause) -> ColumnElement[bool]:
    """Whether an act does: it was read from its log, or is on record and will be."""
    return or_(acts.c.number < 0, _read(acts))


def _entries() -> Select[Any]:
    """The entries that count, each with the act that settled it last."""
    acts = REVIEW_ACTS.alias("acts")
    last = (
        select(acts.c.id)
        .where(acts.c.entry == REVIEWS.c.id, acts.c.verb != Verb.REMIND, _counts(acts))
        .order_by(acts.c.turn.desc(), acts.c.at.desc(), acts.c.id.desc())
        .limit(1)
        .correlate(REVIEWS)
        .scalar_subquery()
    )
    return (
        select(
            *(REVIEWS.c[name] for name in _MADE),
            _LAST.c.verb,
            _LAST.c.turn,
            _LAST.c.disposition,
            _LAST.c.by,
            _LAST.c.reason,
            _LAST.c.at.label("settled_at"),
            _reminded().label("reminded_at"),
        )
        .outerjoin_from(REVIEWS, _LAST, _LAST.c.id == last)
        .where(REVIEWS.c.number >= 0, _read(REVIEWS))
    )


def _reminded() -> Any:
    acts = REVIEW_ACTS.alias("reminders")
    return (
        select(func.max(acts.c.at))
        .where(acts.c.entry == REVIEWS.c.id, acts.c.verb == Verb.REMIND, _counts(acts))
        .correlate(REVIEWS)
        .scalar_subquery()
    )


def _is(state: State) -> ColumnElement[bool]:
    closed = func.coalesce(_LAST.c.verb, "") == Verb.CLOSE
    return closed if state is State.CLOSED else ~closed


def _entry(row: RowMapping) -> Entry:
    made = {name: row[name] for name in _MADE}
    state = State.CLOSED if row["verb"] == Verb.CLOSE else State.OPEN
    return Entry(
        **made,
        state=state,
        disposition=row["disposition"] or "",
        decided_by=row["by"] or "",
        reason=row["reason"] or "",
        settled_at=row["settled_at"] or 0.0,
        reminded_at=row["reminded_at"] or 0.0,
        turn=row["turn"] or 0,
    )
