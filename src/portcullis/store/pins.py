"""Approved tools and what servers say in their place: the ``Pins`` port over SQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select

from portcullis.core.inspection_ports import Pin, Sighting
from portcullis.store.dialect import writing
from portcullis.store.tables import PINS, SIGHTINGS
from portcullis.store.versions import count, version


class SqlPins:
    """An adapter of ``core.inspection_ports.Pins``. Every method blocks: call it on a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, "pins")

    def version(self) -> int:
        """A number that grows with every change."""
        with self._engine.connect() as connection:
            return version(connection, PINS)

    def all(self) -> tuple[Pin, ...]:
        """All pins, ordered by server and tool."""
        query = select(PINS).order_by(PINS.c.server, PINS.c.tool)
        with self._engine.connect() as connection:
            return tuple(msgspec.convert(row._mapping, Pin) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name

    def sightings(self) -> tuple[Sighting, ...]:
        """All sightings, ordered by server and tool."""
        query = select(SIGHTINGS).order_by(SIGHTINGS.c.server, SIGHTINGS.c.tool)
        with self._engine.connect() as connection:
            return tuple(
                msgspec.convert(row._mapping, Sighting)  # noqa: SLF001 - the same
                for row in connection.execute(query)
            )

    def add(self, pins: Sequence[Pin]) -> None:
        """Pin the tools that have no pin yet."""
        with self._writing.begin() as connection:
            rows = connection.execute(select(PINS.c.server, PINS.c.tool))
            known = {(row.server, row.tool) for row in rows}
            new = [pin for pin in pins if (pin.server, pin.tool) not in known]
            if new:
                connection.execute(insert(PINS), [msgspec.structs.asdict(pin) for pin in new])
                count(connection, PINS)

    def put(self, pin: Pin) -> None:
        """Replace a pin; a sighting of the same digest is gone with it."""
        with self._writing.begin() as connection:
            connection.execute(
                delete(PINS).where(PINS.c.server == pin.server, PINS.c.tool == pin.tool)
            )
            connection.execute(insert(PINS).values(msgspec.structs.asdict(pin)))
            connection.execute(
                delete(SIGHTINGS).where(
                    SIGHTINGS.c.server == pin.server,
                    SIGHTINGS.c.tool == pin.tool,
                    SIGHTINGS.c.digest == pin.digest,
                )
            )
            count(connection, PINS)

    def saw(self, sightings: Sequence[Sighting]) -> None:
        """Replace the tools' sightings."""
        with self._writing.begin() as connection:
            for sighting in sightings:
                _forget(connection, sighting.server, sighting.tool)
                row = msgspec.structs.asdict(sighting) | {"reasons": list(sighting.reasons)}
                connection.execute(insert(SIGHTINGS).values(row))
            count(connection, PINS)

    def settled(self, server: str, tools: Sequence[str]) -> None:
        """Take the tools' sightings away."""
        with self._writing.begin() as connection:
            for tool in tools:
                _forget(connection, server, tool)
            count(connection, PINS)


def _forget(connection: Connection, server: str, tool: str) -> None:
    connection.execute(
        delete(SIGHTINGS).where(SIGHTINGS.c.server == server, SIGHTINGS.c.tool == tool)
    )
