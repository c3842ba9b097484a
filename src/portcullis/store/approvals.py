"""Approvals over SQL: the ``ApprovalStore`` port.

Whatever changes a state names the states that it may come from in the same statement, so that of
many who try at once, also in other processes, one does it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    delete,
    func,
    insert,
    select,
    update,
)

from portcullis.core.approval import Approval, Claimed, State, Verb, after, before
from portcullis.core.approval_ports import Told
from portcullis.core.desk import ApprovalPage, Wanted
from portcullis.store.approvals_pages import COLUMNS, LIVE, page
from portcullis.store.dialect import writing
from portcullis.store.keyset import unindexed
from portcullis.store.tables import APPROVALS, FREEZES

log = structlog.get_logger(__name__)


class SqlApprovals:
    """An adapter of ``core.approval_ports.ApprovalStore``. Every method blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, "approvals")
        self._damaged: set[str] = set()

    def claim(self, wanted: Approval, sealed: bytes, *, most: int, now: float) -> Claimed:
        """Consume, find or make the approval of a call; see the port."""
        table = APPROVALS.c
        query = (
            select(*COLUMNS)
            .where(
                table.binding == wanted.binding,
                table.state.in_((*LIVE, State.DENIED)),
                table.expires_at > now,
            )
            .order_by(table.created_at.desc(), table.id.desc())
        )
        with self._writing.begin() as connection:
            known = [approval_of(row) for row in connection.execute(query).mappings()]
            for one in known:
                if one.state is State.APPROVED:
                    moved = _moved(connection, one.id, Verb.CONSUME, now)
                    if moved is not None:
                        return Claimed(outcome="consumed", approval=moved)
            if known and known[0].state is State.DENIED:
                return Claimed(outcome="denied", approval=known[0])
            if known:
                return Claimed(outcome="waits", approval=known[0])
            if wanted.agent in _frozen(connection):
                return Claimed(outcome="frozen")
            waiting = select(func.count()).where(
                table.agent == wanted.agent,
                table.state == State.PENDING,
                table.expires_at > now,
            )
            if connection.execute(waiting).scalar_one() >= most:
                return Claimed(outcome="full")
            row = msgspec.structs.asdict(wanted)
            row |= {"sealed": sealed, "chain": " ".join(wanted.chain)}
            connection.execute(insert(APPROVALS).values(row))
            return Claimed(outcome="asked", approval=wanted)

    def get(self, approval_id: str) -> Approval | None:
        """One approval."""
        with self._engine.connect() as connection:
            return _get(connection, approval_id)

    def sealed(self, approval_id: str) -> bytes:
        """What the approver sees, sealed; b"" when it is gone."""
        query = select(APPROVALS.c.sealed).where(APPROVALS.c.id == approval_id)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none() or b""

    def list(self, states: Collection[State], limit: int) -> tuple[Approval, ...]:
        """The newest of these states, the oldest of them first; what is damaged is left out."""
        query = (
            select(*COLUMNS)
            .where(APPROVALS.c.state.in_(list(states)))
            .order_by(APPROVALS.c.created_at.desc(), APPROVALS.c.id.desc())
            .limit(limit)
        )
        return tuple(reversed(self._found(query)))

    def page(self, wanted: Wanted, cursor: str, limit: int, now: float) -> ApprovalPage:
        """A page of approvals; see the port."""
        with self._engine.connect() as connection:
            rows, following = page(connection, wanted, cursor, limit, now)
        found = tuple(one for one in map(self._sound, rows) if one is not None)
        return ApprovalPage(approvals=found, following=following)

    def waiting(self, now: float) -> int:
        """How many are pending."""
        query = select(func.count()).where(
            APPROVALS.c.state == State.PENDING, APPROVALS.c.expires_at > now
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def due(self, now: float, limit: int) -> tuple[Approval, ...]:
        """Those whose time is over, the oldest first."""
        row = APPROVALS.c
        found = [
            one
            for state in LIVE
            for one in self._found(_some([row.state == state, row.expires_at <= now], limit))
        ]
        return tuple(sorted(found, key=lambda one: (one.created_at, one.id)))

    def untold(self, kind: Told, until: float, now: float, limit: int) -> tuple[Approval, ...]:
        """Those asked until then of which nobody was told so, the oldest first."""
        row = APPROVALS.c
        column = row[f"{kind}_at"]
        fits = [row.state == State.PENDING, column == 0, row.created_at <= until]
        lasting = unindexed(row.expires_at, 0.0) > now
        return self._found(_some([*fits, lasting], limit).order_by(row.created_at))

    def sessions(self) -> tuple[str, ...]:
        """The sessions of those that are pending or approved."""
        query = (
            select(APPROVALS.c.session)
            .where(APPROVALS.c.state.in_(LIVE), APPROVALS.c.session != "")
            .distinct()
        )
        with self._engine.connect() as connection:
            return tuple(connection.execute(query).scalars())

    def of_session(self, session: str) -> tuple[Approval, ...]:
        """Those of a session that are pending or approved, the oldest first."""
        fits = [APPROVALS.c.state.in_(LIVE), APPROVALS.c.session == session]
        found = self._found(select(*COLUMNS).where(*fits))
        return tuple(sorted(found, key=lambda one: (one.created_at, one.id)))

    def changed(self, since: float, limit: int) -> tuple[Approval, ...]:
        """What was asked or came into its state since then, in the order of these times."""
        row = APPROVALS.c
        new = _some([row.state == State.PENDING, row.created_at >= since], limit)
        settled = _some([row.settled_at >= since], limit)
        found = (
            *self._found(new.order_by(row.created_at)),
            *self._found(settled.order_by(row.settled_at)),
        )
        last = {one.id: one for one in found}.values()
        return tuple(sorted(last, key=lambda one: (one.settled_at or one.created_at, one.id)))[
            :limit
        ]

    def _found(self, query: Select[Any]) -> tuple[Approval, ...]:
        with self._engine.connect() as connection:
            found = map(self._sound, connection.execute(query).mappings())
            return tuple(one for one in found if one is not None)

    def _sound(self, row: RowMapping) -> Approval | None:
        try:
            return approval_of(row)
        except msgspec.ValidationError:
            if row["id"] not in self._damaged:
                log.warning("approval_damaged", approval=row["id"])
            self._damaged.add(row["id"])
            return None

    def move(
        self,
        approval_id: str,
        verb: Verb,
        *,
        now: float,
        by: str = "",
        reason: str = "",
        after: str = "",
    ) -> Approval | None:
        """Apply a verb, if it applies."""
        with self._writing.begin() as connection:
            return _moved(connection, approval_id, verb, now, by, reason, after)

    def endorse(self, approval_id: str, *, now: float, by: str, reason: str) -> Approval | None:
        """Note the first of two, if nobody was."""
        row = APPROVALS.c
        noted = update(APPROVALS).where(
            row.id == approval_id,
            row.state == State.PENDING,
            row.endorsed_by == "",
            row.expires_at > now,
        )
        with self._writing.begin() as connection:
            if (
                connection.execute(noted.values(endorsed_by=by, endorsed_reason=reason)).rowcount
                != 1
            ):
                return None
            return _get(connection, approval_id)

    def mark(self, approvals: Collection[str], kind: Told, at: float) -> int:
        """Note that somebody was told, of those that wait and were not marked before."""
        column = APPROVALS.c[f"{kind}_at"]
        marked = (
            update(APPROVALS)
            .where(APPROVALS.c.id.in_(approvals), APPROVALS.c.state == State.PENDING, column == 0)
            .values({column.name: at})
        )
        with self._writing.begin() as connection:
            return connection.execute(marked).rowcount

    def denials(self, agent: str, since: float) -> int:
        """How many calls by or for an agent were denied since then, or since it was last lifted."""
        lifted = select(FREEZES.c.lifted_at).where(FREEZES.c.agent == agent)
        with self._engine.connect() as connection:
            since = max(since, connection.execute(lifted).scalar_one_or_none() or 0.0)
            query = select(APPROVALS.c.agent, APPROVALS.c.chain).where(
                APPROVALS.c.state == State.DENIED, APPROVALS.c.settled_at > since
            )
            found = connection.execute(query)
            return sum(agent in (who, *chain.split()) for who, chain in found)

    def frozen(self) -> tuple[str, ...]:
        """The agents that may not ask."""
        with self._engine.connect() as connection:
            return _frozen(connection)

    def freeze(self, agent: str, at: float) -> bool:
        """Let an agent ask no more; False when that is so already."""
        with self._writing.begin() as connection:
            if agent in _frozen(connection):
                return False
            connection.execute(delete(FREEZES).where(FREEZES.c.agent == agent))
            connection.execute(insert(FREEZES).values(agent=agent, frozen_at=at, lifted_at=0.0))
        return True

    def lift(self, agent: str, at: float) -> bool:
        """Let an agent ask again; False when it may."""
        with self._writing.begin() as connection:
            if agent not in _frozen(connection):
                return False
            lifted = update(FREEZES).where(FREEZES.c.agent == agent)
            connection.execute(lifted.values(frozen_at=0.0, lifted_at=at))
        return True

    def forget(self, settled_before: float) -> int:
        """Delete what was settled before then."""
        over = [state for state in State if state not in LIVE]
        gone = delete(APPROVALS).where(
            APPROVALS.c.state.in_(over), APPROVALS.c.settled_at < settled_before
        )
        with self._writing.begin() as connection:
            return connection.execute(gone).rowcount


def _some(fits: list[ColumnElement[bool]], limit: int) -> Select[Any]:
    return select(*COLUMNS).where(*fits).limit(limit)


def _get(connection: Connection, approval_id: str) -> Approval | None:
    query = select(*COLUMNS).where(APPROVALS.c.id == approval_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else approval_of(row)


def _moved(
    connection: Connection,
    approval_id: str,
    verb: Verb,
    now: float,
    by: str = "",
    reason: str = "",
    endorsed: str = "",
) -> Approval | None:
    values: dict[str, Any] = {"settled_at": now, "sealed": None}
    if by:
        values |= {"decided_by": by, "reason": reason}
    for state in before(verb):
        moving = update(APPROVALS).where(APPROVALS.c.id == approval_id, APPROVALS.c.state == state)
        if verb in {Verb.APPROVE, Verb.CONSUME}:
            moving = moving.where(APPROVALS.c.expires_at > now)
        if verb is Verb.APPROVE:
            moving = moving.where(APPROVALS.c.endorsed_by == endorsed)
        if connection.execute(moving.values(values | {"state": after(state, verb)})).rowcount == 1:
            return _get(connection, approval_id)
    return None


def _frozen(connection: Connection) -> tuple[str, ...]:
    query = select(FREEZES.c.agent).where(FREEZES.c.frozen_at > FREEZES.c.lifted_at)
    return tuple(connection.execute(query.order_by(FREEZES.c.agent)).scalars())


def approval_of(row: RowMapping) -> Approval:
    """The approval in a row of its table; msgspec.ValidationError for a damaged one."""
    known = {name: row[name] for name in Approval.__struct_fields__}
    return msgspec.convert(known | {"chain": known["chain"].split()}, Approval)
