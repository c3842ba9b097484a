"""Passkeys of operators: the ``Passkeys`` port over SQL."""

from __future__ import annotations

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from portcullis.core.passkey_ports import Passkey
from portcullis.store.dialect import writing
from portcullis.store.tables import PASSKEYS as ROWS


class SqlPasskeys:
    """An adapter of ``core.passkey_ports.Passkeys``. Every method blocks: call it on a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def get(self, passkey: str) -> Passkey | None:
        """The passkey, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(select(ROWS).where(ROWS.c.id == passkey)).one_or_none()
        return None if row is None else Passkey(**row._mapping)  # noqa: SLF001 - its API

    def of(self, operator: str) -> tuple[Passkey, ...]:
        """An operator's, the oldest first."""
        wanted = (
            select(ROWS).where(ROWS.c.operator == operator).order_by(ROWS.c.created_at, ROWS.c.id)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return tuple(Passkey(**row._mapping) for row in rows)  # noqa: SLF001 - its API

    def add(self, passkey: Passkey) -> bool:
        """Add a new one; False when there is one of this id."""
        row = {name: getattr(passkey, name) for name in passkey.__struct_fields__}
        try:
            with self._writing.begin() as connection:
                connection.execute(insert(ROWS).values(row))
        except IntegrityError:
            return False
        return True

    def used(self, passkey: str, sign_count: int, at: float) -> bool:
        """Remember a login; False when its counter is not beyond the last one."""
        beyond = ROWS.c.sign_count < sign_count
        uncounted = (ROWS.c.sign_count == 0) & (sign_count == 0)
        change = (
            update(ROWS)
            .where(ROWS.c.id == passkey, beyond | uncounted)
            .values(sign_count=sign_count, used_at=at)
        )
        with self._writing.begin() as connection:
            return connection.execute(change).rowcount == 1

    def remove(self, operator: str, passkey: str) -> bool:
        """Take one of the operator's away; False when it has none of this id."""
        ours = (ROWS.c.id == passkey) & (ROWS.c.operator == operator)
        with self._writing.begin() as connection:
            return connection.execute(delete(ROWS).where(ours)).rowcount == 1

    def forget(self, operator: str) -> None:
        """Take all of an operator's away."""
        with self._writing.begin() as connection:
            connection.execute(delete(ROWS).where(ROWS.c.operator == operator))
