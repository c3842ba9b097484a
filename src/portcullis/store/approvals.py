"""Approvals over SQL: the ``ApprovalStore`` port.

Whatever changes a state names the states that it may come from in the same statement, so that of
many who try at once, also in other processes, one does it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal

import msgspec
import structlog
from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, update

from portcullis.core.approval import Approval, Claimed, State, Verb, after, before
from portcullis.store.tables import APPROVALS, FREEZES

_LIVE: Final = (State.PENDING, State.APPROVED)

log = structlog.get_logger(__name__)


class SqlApprovals:
    """An adapter of ``core.approval_ports.ApprovalStore``. Every method blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(portcullis_immediate=True)
        self._damaged: set[str] = set()

    def claim(self, wanted: Approval, sealed: bytes, *, most: int, now: float) -> Claimed:
        """Consume, find or make the approval of a call; see the port."""
        table = APPROVALS.c
        query = (
            select(APPROVALS)
            .where(
                table.binding == wanted.binding,
                table.state.in_((*_LIVE, State.DENIED)),
                table.expires_at > now,
            )
            .order_by(table.created_at.desc(), table.id.desc())
        )
        with self._writing.begin() as connection:
            known = [_approval(row) for row in connection.execute(query).mappings()]
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
            select(APPROVALS)
            .where(APPROVALS.c.state.in_(list(states)))
            .order_by(APPROVALS.c.created_at.desc(), APPROVALS.c.id.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            found = map(self._sound, connection.execute(query).mappings())
            return tuple(reversed([one for one in found if one is not None]))

    def _sound(self, row: RowMapping) -> Approval | None:
        try:
            return _approval(row)
        except msgspec.ValidationError:
            if row["id"] not in self._damaged:
                log.warning("approval_damaged", approval=row["id"])
            self._damaged.add(row["id"])
            return None

    def move(
        self, approval_id: str, verb: Verb, *, now: float, by: str = "", reason: str = ""
    ) -> Approval | None:
        """Apply a verb, if it applies."""
        with self._writing.begin() as connection:
            return _moved(connection, approval_id, verb, now, by, reason)

    def mark(self, approval_id: str, kind: Literal["reminded", "escalated"], at: float) -> bool:
        """Note that somebody was told; False when it waits no more, or was marked before."""
        column = APPROVALS.c[f"{kind}_at"]
        marked = (
            update(APPROVALS)
            .where(APPROVALS.c.id == approval_id, APPROVALS.c.state == State.PENDING, column == 0)
            .values({column.name: at})
        )
        with self._writing.begin() as connection:
            return connection.execute(marked).rowcount == 1

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
        over = [state for state in State if state not in _LIVE]
        gone = delete(APPROVALS).where(
            APPROVALS.c.state.in_(over), APPROVALS.c.settled_at < settled_before
        )
        with self._writing.begin() as connection:
            return connection.execute(gone).rowcount


def _get(connection: Connection, approval_id: str) -> Approval | None:
    query = select(APPROVALS).where(APPROVALS.c.id == approval_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _approval(row)


def _moved(
    connection: Connection,
    approval_id: str,
    verb: Verb,
    now: float,
    by: str = "",
    reason: str = "",
) -> Approval | None:
    values: dict[str, Any] = {"settled_at": now, "sealed": None}
    if by:
        values |= {"decided_by": by, "reason": reason}
    for state in before(verb):
        moving = update(APPROVALS).where(APPROVALS.c.id == approval_id, APPROVALS.c.state == state)
        if verb in {Verb.APPROVE, Verb.CONSUME}:
            moving = moving.where(APPROVALS.c.expires_at > now)
        if connection.execute(moving.values(values | {"state": after(state, verb)})).rowcount == 1:
            return _get(connection, approval_id)
    return None


def _frozen(connection: Connection) -> tuple[str, ...]:
    query = select(FREEZES.c.agent).where(FREEZES.c.frozen_at > FREEZES.c.lifted_at)
    return tuple(connection.execute(query.order_by(FREEZES.c.agent)).scalars())


def _approval(row: RowMapping) -> Approval:
    known = {name: row[name] for name in Approval.__struct_fields__}
    return msgspec.convert(known | {"chain": known["chain"].split()}, Approval)
