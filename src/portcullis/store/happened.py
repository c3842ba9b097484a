"""Where in the logs a subject's history stands, over SQL.

Each question goes by an index and has a bound, however long the logs are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    exists,
    func,
    or_,
    select,
    text,
)

from portcullis.core.incident import Subject
from portcullis.core.incident_log_ports import Key, Order, Spot
from portcullis.core.review import Verb
from portcullis.review.incident_about import CREDENTIAL, POLICY
from portcullis.review.incident_logs import ordered
from portcullis.store.keyset import beyond, unindexed
from portcullis.store.tables import (
    AUDIT_ABOUT,
    AUDIT_EVENTS,
    AUDIT_FINDINGS,
    AUDIT_POSITIONS,
    DECISION,
    REVIEW_ACTS,
)

_ROW: Final = AUDIT_EVENTS.c
_ABOUT: Final = AUDIT_ABOUT.c
_FOREVER: Final = 1e12
_EVERYBODY: Final = "all:*"
_RECENT: Final = 5000
"""Decisions of an agent in which its sessions are looked for: the newest."""
_SESSIONS: Final = 200
"""Sessions of an agent whose own history counts as its."""
_CREDENTIALS: Final = 500
"""As many credentials."""
_HERE: Final = and_(AUDIT_FINDINGS.c.log == _ROW.log, AUDIT_FINDINGS.c.number == _ROW.number)
_SPOT: Final = (
    *(_ROW[name] for name in Spot.__struct_fields__ if name != "found"),
    exists().where(_HERE).label("found"),
)
_BATCH: Final = 256
_WALK: Final = 20_000
"""Rows of an index that one question looks at."""


class SqlHappened:
    """An adapter of ``core.incident_log_ports.Happened``.

    ``role_of`` says which role an agent has now: what is done to a role is done to its agents.
    """

    def __init__(self, engine: Engine, role_of: Callable[[str], str] = lambda _: "") -> None:
        self._engine = engine
        self._role_of = role_of

    def spots(
        self,
        subject: Subject,
        since: float,
        until: float,
        after: Key | None,
        limit: int,
        order: Order = "oldest",
    ) -> list[Spot]:
        """What a subject did, and what was done to it; see Happened."""
        with self._engine.connect() as connection:
            counts = _counting(connection)
            found: list[Spot] = []
            for query, place in self._branches(connection, subject, since, until):
                page = _paged(query.where(counts), place, since, until, after, limit, order)
                found += _spots(connection, page)
        return ordered(found, order)[:limit]

    def uses(
        self,
        tools: Collection[tuple[str, str]],
        apart: str,
        since: float,
        until: float,
        limit: int,
    ) -> tuple[list[Spot], bool]:
        """Allowed calls of these tools by others; see Happened."""
        by_name: dict[str, set[str]] = {}
        for server, name in tools:
            by_name.setdefault(name, set()).add(server)
        found: list[Spot] = []
        whole = True
        with self._engine.connect() as connection:
            for name, servers in by_name.items():
                some = self._walk(connection, _ROW.name == name, since, until)
                whole = whole and len(some) < _WALK
                found += [one for one in some if one.server in servers and _by_another(one, apart)]
        return ordered(found)[:limit], whole and len(found) <= limit

    def joined(
        self, sessions: Collection[str], apart: str, since: float, until: float, limit: int
    ) -> tuple[list[Spot], bool]:
        """What others did in these sessions; see Happened."""
        found: list[Spot] = []
        some, whole = list(sessions), True
        with self._engine.connect() as connection:
            for start in range(0, len(some), _BATCH):
                here = _ROW.session.in_(some[start : start + _BATCH])
                page = self._walk(connection, here, since, until)
                whole = whole and len(page) < _WALK
                found += [one for one in page if _by_another(one, apart)]
        return ordered(found)[:limit], whole and len(found) <= limit

    @staticmethod
    def _walk(
        connection: Connection, here: ColumnElement[bool], since: float, until: float
    ) -> list[Spot]:
        """The first decisions of an index, whosever they are."""
        query = select(*_SPOT).where(text(DECISION), here, _counting(connection))
        return _spots(connection, _paged(query, _PLACE, since, until, None, _WALK, "oldest"))

    def sessions(self, agent: str, since: float, until: float, limit: int) -> tuple[str, ...]:
        """The newest sessions that an agent acted in; see Happened."""
        with self._engine.connect() as connection:
            return _sessions(connection, agent, since, until, limit)

    def names(self, agent: str, since: float, until: float) -> tuple[str, ...]:
        """As what else something is done to an agent; see Happened."""
        with self._engine.connect() as connection:
            return self._names(connection, agent, since, until)

    def servers(self, subject: Subject, since: float) -> Mapping[tuple[str, str], float]:
        """When what was last allowed; see Happened."""
        own = _ROW.session == subject.session if subject.session else _agents(subject.agent)
        query = (
            select(_ROW.server, _ROW.name, func.max(_ROW.at))
            .where(own, text(DECISION), unindexed(_ROW.verdict) == "allow", _ROW.at >= since)
            .group_by(_ROW.server, _ROW.name)
        )
        with self._engine.connect() as connection:
            found = connection.execute(query.where(_counting(connection))).all()
        return {(server, name): at for server, name, at in found}

    def policies(self, since: float, limit: int) -> list[Spot]:
        """Where policies came into force; see Happened."""
        with self._engine.connect() as connection:
            told = _told().where(_ABOUT.subject == POLICY, _counting(connection))
            new = _paged(told, _TOLD, since, _FOREVER, None, limit, "newest")
            found = _spots(connection, new)
            for log in _positions(connection):
                old = _paged(told.where(_ABOUT.log == log), _TOLD, 0.0, since, None, 1, "newest")
                found += _spots(connection, old)
        return ordered(found, "newest")

    def reviewed(self, events: Collection[str]) -> frozenset[str]:
        """Those that a human closed, and nobody opened again; see Happened."""
        some = list(events)
        act = REVIEW_ACTS.c
        last: dict[str, tuple[tuple[int, float, str], str]] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(some), _BATCH):
                query = select(act.entry, act.turn, act.at, act.id, act.verb).where(
                    act.entry.in_(some[start : start + _BATCH]), act.verb != Verb.REMIND
                )
                for entry, turn, at, act_id, verb in connection.execute(query):
                    key = (turn, at, act_id)
                    if entry not in last or last[entry][0] < key:
                        last[entry] = key, verb
        return frozenset(entry for entry, (_, verb) in last.items() if verb == Verb.CLOSE)

    def reached(self) -> Mapping[str, int]:
        """How far the logs are projected; see Happened."""
        with self._engine.connect() as connection:
            return _positions(connection)

    def _names(
        self, connection: Connection, agent: str, since: float, until: float
    ) -> tuple[str, ...]:
        query = (
            select(_ROW.session, _ROW.credential)
            .where(_agents(agent), _ROW.at >= since, _ROW.at < until)
            .order_by(_ROW.at.desc())
            .limit(_RECENT)
        )
        rows = connection.execute(query).all()
        sessions = [f"session:{one}" for one in dict.fromkeys(row.session for row in rows) if one]
        shown = dict.fromkeys(row.credential for row in rows)
        credentials = [f"{CREDENTIAL}{one}" for one in shown if one]
        role = self._role_of(agent)
        own = (*sessions[:_SESSIONS], *credentials[:_CREDENTIALS])
        return (*own, f"role:{role}") if role else own

    def _branches(
        self, connection: Connection, subject: Subject, since: float, until: float
    ) -> list[tuple[Select[Any], tuple[ColumnElement[Any], ...]]]:
        """The questions that together are a subject's history, and what each is ordered by."""
        told = _told()
        if subject.session:
            return [
                (select(*_SPOT).where(_ROW.session == subject.session), _PLACE),
                (told.where(_ABOUT.subject == subject.name), _TOLD),
                (told.where(_ABOUT.subject == _EVERYBODY), _TOLD),
            ]
        names = self._names(connection, subject.agent, since, until)
        return [
            (select(*_SPOT).where(_agents(subject.agent)), _PLACE),
            (told.where(_ABOUT.subject == subject.name), _TOLD),
            (told.where(_ABOUT.subject == _EVERYBODY), _TOLD),
            (told.where(_ABOUT.subject.in_(names)), _TOLD),
        ]


_PLACE: Final[tuple[ColumnElement[Any], ...]] = (_ROW.at, _ROW.log, _ROW.number)
_TOLD: Final[tuple[ColumnElement[Any], ...]] = (_ABOUT.at, _ABOUT.log, _ABOUT.number)


def _told() -> Select[Any]:
    same = and_(_ABOUT.log == _ROW.log, _ABOUT.number == _ROW.number)
    return select(*_SPOT).join(AUDIT_ABOUT, same)


def _by_another(spot: Spot, apart: str) -> bool:
    return spot.principal != apart and spot.verdict == "allow"


def _agents(agent: str) -> ColumnElement[bool]:
    """What an agent did; an operator may have the same name, and an administrative act no risk."""
    return _ROW.principal == agent


def _sessions(
    connection: Connection, agent: str, since: float, until: float, limit: int
) -> tuple[str, ...]:
    """The newest first, of an agent's newest decisions."""
    query = (
        select(_ROW.session)
        .where(text(DECISION), _ROW.principal == agent, _ROW.at >= since, _ROW.at < until)
        .order_by(_ROW.at.desc(), _ROW.log.desc(), _ROW.number.desc())
        .limit(_RECENT)
    )
    found = dict.fromkeys(connection.execute(query).scalars())
    return tuple(one for one in found if one)[:limit]


def _paged(
    query: Select[Any],
    place: tuple[ColumnElement[Any], ...],
    since: float,
    until: float,
    after: Key | None,
    limit: int,
    order: Order,
) -> Select[Any]:
    at, ascending = place[0], order == "oldest"
    query = query.where(at >= since, at < until)
    if after is not None:
        query = query.where(beyond(place, after, ascending=ascending))
        query = query.where(at >= after[0] if ascending else at <= after[0])
    by = place if ascending else tuple(column.desc() for column in place)
    return query.order_by(*by).limit(limit)


def _spots(connection: Connection, query: Select[Any]) -> list[Spot]:
    found = connection.execute(query).mappings()
    return [Spot(**{**row, "found": bool(row["found"])}) for row in found]


def _positions(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(AUDIT_POSITIONS.c.log, AUDIT_POSITIONS.c.next))
    return {log: following for log, following in rows}  # noqa: C416 - rows are no pairs to mypy


def _counting(connection: Connection) -> ColumnElement[bool]:
    """The rows that count: those of entries that are projected."""
    positions = _positions(connection)
    if not positions:
        return _ROW.number < 0
    log, number = unindexed(_ROW.log), unindexed(_ROW.number, 0)
    return or_(
        *(
            and_(log == name, number >= 0, number < following)
            for name, following in positions.items()
        )
    )
