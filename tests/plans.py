"""How SQLite would go about the queries that are made: what scans or sorts is seen here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import Engine, event


@contextlib.contextmanager
def planned(engine: Engine) -> Iterator[list[str]]:
    """Gathers the plan of every query that is made in the block, a line for each step.

    Of PostgreSQL none: which plan it takes goes by how much is there.
    """
    steps: list[str] = []

    def explain(connection, cursor, statement, parameters, context, many):
        del connection, context, many
        if engine.dialect.name == "sqlite" and statement.lstrip().startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps.extend(row[-1] for row in cursor.fetchall())

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield steps
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def slow(steps: list[str]) -> list[str]:
    """The steps that look at a whole table, or sort what they found."""
    return [
        step
        for step in steps
        if "TEMP B-TREE" in step
        or (step.startswith("SCAN") and "USING" not in step and "CONSTANT" not in step)
    ]
