"""Which agents are observed, since when, and what became of it, over SQL. Every method blocks."""

from __future__ import annotations

import msgspec
from sqlalchemy import Engine, delete, insert, select

from portcullis.store.dialect import writing
from portcullis.store.tables_observed import OBSERVED


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One time that an agent is observed, up to ``until``. Times are seconds since the epoch.

    ``told_at`` is when it was last told of, ``ended_at`` when it ended (0: not yet). ``draft`` is
    the name of the folder with the mined policy, or the code that says why there is none.
    """

    agent: str
    until: int
    begun_at: float
    told_at: float
    ended_at: float = 0.0
    draft: str = ""


class SqlObservations:
    """Keeps them over restarts, so that each thing is told once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, "observed")

    def unfinished(self) -> tuple[Observation, ...]:
        """Those that have not ended, or whose policy is still to be mined."""
        query = select(OBSERVED).where((OBSERVED.c.ended_at == 0) | (OBSERVED.c.draft == ""))
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings()
            return tuple(Observation(**row) for row in rows)

    def get(self, agent: str, until: int) -> Observation | None:
        """One of them."""
        query = select(OBSERVED).where(OBSERVED.c.agent == agent, OBSERVED.c.until == until)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Observation(**row)

    def put(self, one: Observation) -> None:
        """Write one down, in place of what was known of it."""
        key = (OBSERVED.c.agent == one.agent) & (OBSERVED.c.until == one.until)
        with self._writing.begin() as connection:
            connection.execute(delete(OBSERVED).where(key))
            connection.execute(insert(OBSERVED).values(msgspec.structs.asdict(one)))
