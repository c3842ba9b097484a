"""Which agent used which secret, in rows that are merged, and when secrets were rotated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, case, delete, select
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.core.secret_ports import Rotation, Use
from portcullis.store.dialect import Insert, upsert, writing
from portcullis.store.tables_secrets import SECRET_ROTATIONS, SECRET_USES
from portcullis.store.versions import count, version

_MOST: Final = 10_000
"""Rows that are returned at once, the newest."""
_USES, _ROTATIONS = SECRET_USES.c, SECRET_ROTATIONS.c
_ONE: Final = tuple(column.name for column in SECRET_USES.primary_key.columns)


class SqlLeases:
    """Implements ``core.secret_ports.Leases`` over SQL. For any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def add(self, uses: Sequence[Use]) -> None:
        """See Leases."""
        if not uses:
            return
        rows = [msgspec.structs.asdict(one) for one in uses]
        rows.sort(key=lambda row: [row[name] for name in _ONE])  # as everybody: nobody waits twice
        try:
            with self._writing.begin() as connection:
                connection.execute(_merging(connection), rows)
        except SQLAlchemyError:
            raise Problem("PC9002", "uses of secrets cannot be written down") from None

    def uses(self, *, agent: str = "", reference: str = "", since: float = 0.0) -> tuple[Use, ...]:
        """See Leases."""
        query = select(SECRET_USES).where(_USES.last >= since)
        if agent:
            query = query.where(_USES.agent == agent)
        if reference:
            query = query.where(_USES.reference == reference)
        query = query.order_by(_USES.last.desc()).limit(_MOST)
        try:
            with self._engine.connect() as connection:
                return tuple(_use(row._mapping) for row in connection.execute(query))  # noqa: SLF001 - its public name for it
        except SQLAlchemyError:
            raise Problem("PC9002", "uses of secrets cannot be read") from None

    def forget(self, before: float) -> int:
        """See Leases."""
        try:
            with self._writing.begin() as connection:
                return connection.execute(delete(SECRET_USES).where(_USES.last < before)).rowcount
        except SQLAlchemyError:
            raise Problem("PC9002", "uses of secrets cannot be forgotten") from None

    def rotated(self, rotation: Rotation) -> None:
        """See Leases."""
        row = msgspec.structs.asdict(rotation)
        new = {name: value for name, value in row.items() if name != "reference"}
        try:
            with self._writing.begin() as connection:
                adding = upsert(connection, SECRET_ROTATIONS).values(row)
                connection.execute(
                    adding.on_conflict_do_update(index_elements=["reference"], set_=new)
                )
                count(connection, SECRET_ROTATIONS)
        except SQLAlchemyError:
            raise Problem("PC9002", "a rotation cannot be written down") from None

    def rotations(self) -> dict[str, Rotation]:
        """See Leases."""
        try:
            with self._engine.connect() as connection:
                rows = [row._mapping for row in connection.execute(select(SECRET_ROTATIONS))]  # noqa: SLF001 - the same
        except SQLAlchemyError:
            raise Problem("PC9002", "rotations cannot be read") from None
        return {
            row["reference"]: Rotation(
                reference=row["reference"],
                at=row["at"],
                rotated=bool(row["rotated"]),
                verified=bool(row["verified"]),
                fault=row["fault"],
            )
            for row in rows
        }

    def changes(self) -> int:
        """See Leases."""
        try:
            with self._engine.connect() as connection:
                return version(connection, SECRET_ROTATIONS)
        except SQLAlchemyError:
            raise Problem("PC9002", "rotations cannot be read") from None


def _merging(connection: Connection) -> Insert:
    adding = upsert(connection, SECRET_USES)
    new = adding.excluded
    return adding.on_conflict_do_update(
        index_elements=_ONE,
        set_={
            "first": case((new.first < _USES.first, new.first), else_=_USES.first),
            "last": case((new.last > _USES.last, new.last), else_=_USES.last),
            "count": _USES.count + new.count,
        },
    )


def _use(row: Any) -> Use:
    return Use(**{name: row[name] for name in Use.__struct_fields__})
