"""Who is registered: the ``Directory`` port over SQL."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from portcullis.core.errors import Problem
from portcullis.core.lifecycle import TRANSITIONS, State, Verb
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store.dialect import writing
from portcullis.store.tables import PRINCIPALS

_EXPIRING: Final = sorted(state for state, verb in TRANSITIONS if verb is Verb.EXPIRE)


class SqlDirectory:
    """An adapter of ``core.ports.Directory``. Every method blocks: call it on a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def create(self, record: PrincipalRecord) -> None:
        """Register a principal. Raises Problem PC2009 when it or its ``spiffe_id`` exists."""
        try:
            with self._writing.begin() as connection:
                connection.execute(insert(PRINCIPALS).values(_row(record)))
        except IntegrityError:
            if self.get(record.kind, record.id) is not None:
                raise Problem("PC2009", f"{record.kind} {record.id} exists") from None
            self._refuse_second(record)
            raise

    def get(self, kind: PrincipalKind, principal_id: str) -> PrincipalRecord | None:
        """The principal's record, or None."""
        query = select(PRINCIPALS).where(
            PRINCIPALS.c.kind == kind.value, PRINCIPALS.c.id == principal_id
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else record_of(row)

    def named(self, spiffe_id: str) -> PrincipalRecord | None:
        """The principal that an identity of another trust domain stands for, or None."""
        if not spiffe_id:
            return None
        query = select(PRINCIPALS).where(PRINCIPALS.c.spiffe_id == spiffe_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else record_of(row)

    def list(self, kind: PrincipalKind | None = None) -> tuple[PrincipalRecord, ...]:
        """All principals, or those of one kind, ordered by kind and id."""
        query = select(PRINCIPALS).order_by(PRINCIPALS.c.kind, PRINCIPALS.c.id)
        if kind is not None:
            query = query.where(PRINCIPALS.c.kind == kind.value)
        with self._engine.connect() as connection:
            return tuple(map(record_of, connection.execute(query).mappings()))

    def due(self, now: float) -> tuple[PrincipalRecord, ...]:
        """Those whose review date has come and that have not expired yet."""
        query = select(PRINCIPALS).where(
            PRINCIPALS.c.review_at > 0,
            PRINCIPALS.c.review_at <= now,
            PRINCIPALS.c.state.in_(_EXPIRING),
        )
        with self._engine.connect() as connection:
            return tuple(map(record_of, connection.execute(query).mappings()))

    def put(self, record: PrincipalRecord) -> bool:
        """Replace a principal's record; False when there is none. Problem PC2009 as above."""
        change = (
            update(PRINCIPALS)
            .where(PRINCIPALS.c.kind == record.kind.value, PRINCIPALS.c.id == record.id)
            .values(_row(record))
        )
        try:
            with self._writing.begin() as connection:
                return connection.execute(change).rowcount == 1
        except IntegrityError:
            self._refuse_second(record)
            raise

    def _refuse_second(self, record: PrincipalRecord) -> None:
        """One foreign identity stands for one principal."""
        holder = self.named(record.spiffe_id)
        if holder is not None and (holder.kind, holder.id) != (record.kind, record.id):
            raise Problem("PC2009", f"the SPIFFE ID is that of {holder.kind} {holder.id}")


def _row(record: PrincipalRecord) -> dict[str, Any]:
    return {
        "kind": record.kind.value,
        "id": record.id,
        "owner": record.owner,
        "state": record.state.value,
        "roles": [*record.roles],
        "created_at": record.created_at,
        "purpose": record.purpose,
        "review_at": record.review_at,
        "spiffe_id": record.spiffe_id,
        "rotated_at": record.rotated_at,
        "users": [*record.users],
    }


def record_of(row: RowMapping) -> PrincipalRecord:
    """The record of a row of ``PRINCIPALS``, whatever else is in the row."""
    return PrincipalRecord(
        kind=PrincipalKind(row["kind"]),
        id=row["id"],
        owner=row["owner"],
        state=State(row["state"]),
        roles=tuple(row["roles"]),
        created_at=row["created_at"],
        purpose=row["purpose"],
        review_at=row["review_at"],
        spiffe_id=row["spiffe_id"],
        rotated_at=row["rotated_at"],
        users=tuple(row["users"]),
    )
