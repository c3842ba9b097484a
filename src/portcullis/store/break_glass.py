"""Operators who broke the glass, over SQL, the same for every process of a deployment."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Engine, RowMapping, insert, select, update

from portcullis.core.break_glass import BrokenGlass
from portcullis.store.dialect import writing
from portcullis.store.tables_break_glass import BREAK_GLASS


class SqlBreakGlass:
    """Implements ``core.break_glass_ports.GlassBook``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def begin(self, one: BrokenGlass) -> None:
        """Add one."""
        with self._writing.begin() as connection:
            connection.execute(insert(BREAK_GLASS).values(_row(one)))

    def get(self, glass_id: str) -> BrokenGlass | None:
        """One of them."""
        with self._engine.connect() as connection:
            query = select(BREAK_GLASS).where(BREAK_GLASS.c.id == glass_id)
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _glass(row)

    def list(self, limit: int) -> tuple[BrokenGlass, ...]:
        """The newest ones, the newest first."""
        query = select(BREAK_GLASS).order_by(BREAK_GLASS.c.began_at.desc(), BREAK_GLASS.c.id)
        with self._engine.connect() as connection:
            return tuple(map(_glass, connection.execute(query.limit(limit)).mappings()))

    def open(self) -> tuple[BrokenGlass, ...]:
        """All that no review has closed, the oldest first."""
        table = BREAK_GLASS.c
        query = select(BREAK_GLASS).where(table.closed_at == 0).order_by(table.began_at, table.id)
        with self._engine.connect() as connection:
            return tuple(map(_glass, connection.execute(query).mappings()))

    def replace(self, old: BrokenGlass, new: BrokenGlass) -> bool:
        """Put ``new`` in the place of ``old``, unless somebody changed it meanwhile."""
        table = BREAK_GLASS.c
        change = update(BREAK_GLASS).where(
            table.id == old.id,
            table.ended_at == old.ended_at,
            table.closed_at == old.closed_at,
            table.reminded_at == old.reminded_at,
        )
        with self._writing.begin() as connection:
            return connection.execute(change.values(_row(new))).rowcount == 1


def _row(one: BrokenGlass) -> dict[str, Any]:
    return msgspec.structs.asdict(one) | {"roles": list(one.roles)}


def _glass(row: RowMapping) -> BrokenGlass:
    fields = {name: row[name] for name in BrokenGlass.__struct_fields__}
    return BrokenGlass(**fields | {"roles": tuple(row["roles"])})
