"""What operators log in with: the ``Operators`` port over SQL."""

from __future__ import annotations

from sqlalchemy import Engine, delete, insert, select, update

from portcullis.core.ports import OperatorCredential
from portcullis.store.dialect import writing
from portcullis.store.tables import OPERATOR_CREDENTIALS as ROWS


class SqlOperators:
    """An adapter of ``core.ports.Operators``. Every method blocks: call it on a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, "operators")

    def get(self, name: str) -> OperatorCredential | None:
        """The operator's credential, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(select(ROWS).where(ROWS.c.name == name)).one_or_none()
        return None if row is None else OperatorCredential(**row._mapping)  # noqa: SLF001 - its API

    def put(self, credential: OperatorCredential) -> None:
        """Set or replace an operator's credential."""
        row = {name: getattr(credential, name) for name in credential.__struct_fields__}
        with self._writing.begin() as connection:
            connection.execute(delete(ROWS).where(ROWS.c.name == credential.name))
            connection.execute(insert(ROWS).values(row))

    def remove(self, name: str) -> bool:
        """Take an operator's credential away; False when there was none."""
        with self._writing.begin() as connection:
            return connection.execute(delete(ROWS).where(ROWS.c.name == name)).rowcount == 1

    def spend(self, name: str, counter: int) -> bool:
        """Use a one-time code up and forget failures; False when it or a later one was used."""
        change = (
            update(ROWS)
            .where(ROWS.c.name == name, ROWS.c.counter < counter)
            .values(counter=counter, failures=0, locked_until=0.0)
        )
        with self._writing.begin() as connection:
            return connection.execute(change).rowcount == 1

    def failed(self, name: str, failures: int, locked_until: float) -> None:
        """Remember failures; nothing happens for an unknown name."""
        change = (
            update(ROWS)
            .where(ROWS.c.name == name)
            .values(failures=failures, locked_until=locked_until)
        )
        with self._writing.begin() as connection:
            connection.execute(change)
