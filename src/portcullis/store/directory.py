"""Who is registered: the ``Directory`` port over SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from portcullis.core.errors import Problem
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store.tables import PRINCIPALS


class SqlDirectory:
    """An adapter of ``core.ports.Directory``. Every method blocks: call it on a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, record: PrincipalRecord) -> None:
        """Register a principal. Raises Problem PC2009 when it exists."""
        row = {
            "kind": record.kind.value,
            "id": record.id,
            "owner": record.owner,
            "state": record.state,
            "roles": list(record.roles),
            "created_at": record.created_at,
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(PRINCIPALS).values(row))
        except IntegrityError:
            if self.get(record.kind, record.id) is None:
                raise
            raise Problem("PC2009", f"{record.kind} {record.id} exists") from None

    def get(self, kind: PrincipalKind, principal_id: str) -> PrincipalRecord | None:
        """The principal's record, or None."""
        query = select(PRINCIPALS).where(
            PRINCIPALS.c.kind == kind.value, PRINCIPALS.c.id == principal_id
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _record(row)

    def list(self, kind: PrincipalKind | None = None) -> tuple[PrincipalRecord, ...]:
        """All principals, or those of one kind, ordered by kind and id."""
        query = select(PRINCIPALS).order_by(PRINCIPALS.c.kind, PRINCIPALS.c.id)
        if kind is not None:
            query = query.where(PRINCIPALS.c.kind == kind.value)
        with self._engine.connect() as connection:
            return tuple(_record(row) for row in connection.execute(query))

    def set_state(self, kind: PrincipalKind, principal_id: str, state: str) -> bool:
        """Change ``active`` to ``disabled`` or back; False for an unknown principal."""
        change = (
            update(PRINCIPALS)
            .where(PRINCIPALS.c.kind == kind.value, PRINCIPALS.c.id == principal_id)
            .values(state=state)
        )
        with self._engine.begin() as connection:
            return connection.execute(change).rowcount == 1


def _record(row: Row[Any]) -> PrincipalRecord:
    return PrincipalRecord(
        kind=PrincipalKind(row.kind),
        id=row.id,
        owner=row.owner,
        state=row.state,
        roles=tuple(row.roles),
        created_at=row.created_at,
    )
