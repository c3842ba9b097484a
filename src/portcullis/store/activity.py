"""What agents did, over SQL: the ``ActivityStore`` port, read from the projection of the logs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    RowMapping,
    Select,
    and_,
    cast,
    func,
    or_,
    select,
    text,
)

from portcullis.core.approval import State
from portcullis.core.cursor import cursor_of, key_of
from portcullis.core.desk import (
    AgentPage,
    AgentSeen,
    AgentsWanted,
    Course,
    Seen,
    SeenFilter,
    SeenPage,
    Step,
)
from portcullis.core.principal import PrincipalKind
from portcullis.store.dialect import whole
from portcullis.store.directory import record_of
from portcullis.store.keyset import WALK, beyond, bound, unindexed, until
from portcullis.store.tables import (
    APPROVALS,
    AUDIT_EVENTS,
    AUDIT_POSITIONS,
    DECISION,
    FREEZES,
    PRINCIPALS,
    SPARSE,
    sparse,
)

_ROW: Final = AUDIT_EVENTS.c
_ORDER: Final = (_ROW.at, _ROW.log, _ROW.number)
_SEEN: Final = tuple(
    _ROW["principal"].label("agent") if name == "agent" else _ROW[name]
    for name in Seen.__struct_fields__
)
_LEADING: Final = ("session", "name", "principal", "code", "risk", "verdict")
"""The columns by which there is an index, the one that leaves least first."""
_LAST: Final = "\U0010ffff"
_DENIED: Final = "deny"

_Key: TypeAlias = tuple[float, str, int]
_decoder: Final = msgspec.json.Decoder(tuple[float, str, int])
_named_decoder: Final = msgspec.json.Decoder(tuple[str])


class SqlActivity:
    """An adapter of ``core.desk_ports.ActivityStore``. ``walk`` is what one page looks at."""

    def __init__(self, engine: Engine, *, walk: int = WALK) -> None:
        self._engine = engine
        self._walk = walk

    def decisions(self, wanted: SeenFilter, cursor: str, limit: int) -> SeenPage:
        """A page of decisions; see the port."""
        after = key_of(cursor, _decoder)
        with self._engine.connect() as connection:
            fits = _named(connection, wanted)
            ordered, rest = _walk_of(fits, wanted, after)
            end = bound(connection, ordered.with_only_columns(*_ORDER), self._walk)
            if end is not None:
                rest.append(until(_ORDER, end, ascending=False))
            rest.append(_counting(connection))
            rows = connection.execute(ordered.where(*rest).limit(limit + 1)).mappings().all()
        following = "" if end is None else cursor_of(*end)
        if len(rows) > limit:
            rows = rows[:limit]
            following = cursor_of(rows[-1]["at"], rows[-1]["log"], rows[-1]["number"])
        return SeenPage(decisions=tuple(Seen(**row) for row in rows), following=following)

    def agents(self, wanted: AgentsWanted, cursor: str, limit: int, now: float) -> AgentPage:
        """A page of agents; see the port."""
        after = key_of(cursor, _named_decoder)
        column = PRINCIPALS.c.id
        fits = [] if after is None else [column > after[0]]
        if wanted.name:
            fits += [column >= wanted.name, column < wanted.name + _LAST]
        if wanted.state:
            fits.append(PRINCIPALS.c.state == wanted.state)
        with self._engine.connect() as connection:
            query = _agents(now).where(*fits).order_by(column).limit(limit + 1)
            rows = connection.execute(query).mappings().all()
        following = cursor_of(rows[limit - 1]["id"]) if len(rows) > limit else ""
        return AgentPage(agents=tuple(map(_agent, rows[:limit])), following=following)

    def agent(self, name: str, now: float) -> AgentSeen | None:
        """One agent; see the port."""
        with self._engine.connect() as connection:
            query = _agents(now).where(PRINCIPALS.c.id == name)
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _agent(row)

    def some(self, names: Collection[str], now: float) -> dict[str, AgentSeen]:
        """Those of these agents that are registered; see the port."""
        with self._engine.connect() as connection:
            query = _agents(now).where(PRINCIPALS.c.id.in_(names))
            rows = connection.execute(query).mappings().all()
        return {row["id"]: _agent(row) for row in rows}

    def course(self, agent: str, since: float, seconds: float, count: int) -> Course:
        """How much an agent asked for; see the port. It looks at the newest ``walk`` decisions."""
        order = tuple(column.desc() for column in _ORDER)
        here = [_ROW.principal == agent, _ROW.at >= since, _ROW.at < since + count * seconds]
        with self._engine.connect() as connection:
            newest = (
                select(_ROW.at, _ROW.verdict)
                .where(text(DECISION), *here, _counting(connection))
                .order_by(*order)
                .limit(self._walk)
                .subquery()
                .c
            )
            piece = whole((newest.at - since) / seconds)
            refused = func.sum(cast(newest.verdict == _DENIED, Integer))
            query = select(piece, func.count(), refused, func.min(newest.at)).group_by(piece)
            found = {row[0]: row[1:] for row in connection.execute(query)}
        full = sum(row[0] for row in found.values()) >= self._walk
        steps = (
            Step(at=since + number * seconds, calls=calls, refused=denied)
            for number in range(count)
            for calls, denied, _ in (found.get(number, (0, 0, 0.0)),)
        )
        known = min(row[2] for row in found.values()) if full else since
        return Course(seconds=seconds, known=known, steps=tuple(steps))

    def last_seen(self, sessions: Collection[str]) -> dict[str, float]:
        """When something was last decided in each of these; see the port."""
        last = func.max(_ROW.at)
        found = {}
        with self._engine.connect() as connection:
            for session in sessions:
                query = select(last).where(text(DECISION), _ROW.session == session)
                at = connection.execute(query).scalar_one()
                if at is not None:
                    found[session] = at
        return found


def _named(connection: Connection, wanted: SeenFilter) -> dict[str, str]:
    """What is wanted, by column; a tool is ``NAME`` where there is one, else ``SERVER.NAME``."""
    fits = {
        "session": wanted.session,
        "principal": wanted.agent,
        "code": wanted.code,
        "risk": wanted.risk,
        "verdict": wanted.verdict,
    }
    tool = wanted.tool
    server, dot, name = tool.partition(".")
    if dot and name:
        known = select(_ROW.number).where(text(DECISION), _ROW.name == tool).limit(1)
        if connection.execute(known).first() is None:
            tool, fits["server"] = name, server
    fits["name"] = tool
    return {name: value for name, value in fits.items() if value}


def _walk_of(
    fits: dict[str, str], wanted: SeenFilter, after: _Key | None
) -> tuple[Select[Any], list[ColumnElement[bool]]]:
    """The rows of one index, in order, and what is to hold of each beside."""
    leading = next((one for one in _LEADING if one in fits and fits[one] != SPARSE.get(one)), "")
    here: list[ColumnElement[bool]] = [text(DECISION)]  # type: ignore[list-item] # as in the index
    if leading:
        here.append(_ROW[leading] == fits[leading])
    if leading in SPARSE:
        here.append(text(sparse(leading)))  # type: ignore[arg-type] # the same
    if after is not None:
        here.append(beyond(_ORDER, after, ascending=False))
    if wanted.since is not None:
        here.append(_ROW.at >= wanted.since)
    if wanted.until is not None:
        here.append(_ROW.at < wanted.until)
    rest = [unindexed(_ROW[name]) == value for name, value in fits.items() if name != leading]
    order = tuple(column.desc() for column in _ORDER)
    return select(*_SEEN).where(*here).order_by(*order), rest


def _counting(connection: Connection) -> ColumnElement[bool]:
    """The rows that count: those of entries that are projected."""
    positions = connection.execute(select(AUDIT_POSITIONS.c.log, AUDIT_POSITIONS.c.next)).all()
    if not positions:
        return _ROW.number < 0
    log, number = unindexed(_ROW.log), unindexed(_ROW.number, 0)
    return or_(*(and_(log == name, number < following) for name, following in positions))


def _agents(now: float) -> Select[Any]:
    seen = (
        select(func.max(_ROW.at))
        .where(text(DECISION), _ROW.principal == PRINCIPALS.c.id)
        .correlate(PRINCIPALS)
        .scalar_subquery()
    )
    waiting = (
        select(func.count())
        .where(
            APPROVALS.c.agent == PRINCIPALS.c.id,
            APPROVALS.c.state == State.PENDING,
            unindexed(APPROVALS.c.expires_at, 0.0) > now,
        )
        .correlate(PRINCIPALS)
        .scalar_subquery()
    )
    frozen = (
        select(func.count())
        .where(FREEZES.c.agent == PRINCIPALS.c.id, FREEZES.c.frozen_at > FREEZES.c.lifted_at)
        .correlate(PRINCIPALS)
        .scalar_subquery()
    )
    return select(
        PRINCIPALS, seen.label("seen"), waiting.label("waiting"), frozen.label("frozen")
    ).where(PRINCIPALS.c.kind == PrincipalKind.AGENT.value)


def _agent(row: RowMapping) -> AgentSeen:
    return AgentSeen(
        record=record_of(row),
        last_seen=row["seen"] or 0.0,
        frozen=bool(row["frozen"]),
        waiting=row["waiting"],
    )
