"""The projection of the audit logs in the record store: kept up by the gate, asked by commands."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Engine

from portcullis.audit.export.source import Source
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.background import background
from portcullis.bootstrap.foundation import DATABASE, GATE, audit_directory
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.store.engine import open_sqlite
from portcullis.store.projection import Projector, SqlProjection

_START_SECONDS: Final = 2.0
"""What starts has more urgent things to do."""
_IDLE_SECONDS: Final = 0.5
_SPACING_SECONDS: Final = 0.05
"""Between two transactions, at least, so that the gate's other writers are not kept waiting."""
_REST: Final = 9.0
"""How many times as long as a transaction took the next one waits: calls go first."""
_FAULT_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class _Kept:
    """The projection of one log as a process keeps it; opened when it is first needed."""

    def __init__(self, config: Config, name: str) -> None:
        self._config = config
        self._name = name
        self._engine: Engine | None = None
        self._projector: Projector | None = None

    def step(self) -> int:
        """As ``Projector.step``. Blocks."""
        if self._projector is None:
            directory = audit_directory(self._config, self._name)
            source = Source(directory, own_verifier(directory))
            self._engine = open_sqlite(self._config.state / DATABASE)
            self._projector = Projector(SqlProjection(self._engine), self._name, source)
        return self._projector.step()

    def lag(self) -> float:
        """How many entries were not projected, when it last looked."""
        return self._projector.lag if self._projector else 0

    def close(self) -> None:
        """Let the database go."""
        if self._engine is not None:
            self._engine.dispose()


@contextlib.asynccontextmanager
async def projecting(config: Config, name: str, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Project the log called ``name`` beside the block, from a moment after its beginning on."""
    kept = _Kept(config, name)
    gauge = Gauge(
        "portcullis_audit_projection_lag_entries",
        "Entries of the log that queries find only by reading it.",
        registry=registry,
    )
    gauge.set_function(kept.lag)
    try:
        async with background(_keep_up(kept)):
            yield
    finally:
        kept.close()


async def _keep_up(kept: _Kept) -> None:
    """For ever. A fault costs queries time and nothing else: it is said once and tried again."""
    said = ""
    await asyncio.sleep(_START_SECONDS)
    while True:
        try:
            began = time.perf_counter()
            count = await asyncio.to_thread(kept.step)
            rest = _REST * min(1.0, time.perf_counter() - began)
            said = ""
        except Exception as error:  # noqa: BLE001 - nothing ends it but the gate's end
            fault = error.code if isinstance(error, Problem) else type(error).__name__
            if fault != said:
                log.warning("projection_failing", fault=fault)
                said = fault
            await asyncio.sleep(_FAULT_SECONDS)
            continue
        await asyncio.sleep(max(_SPACING_SECONDS, rest) if count else _IDLE_SECONDS)


@contextlib.contextmanager
def projection_of(config: Config) -> Iterator[SqlProjection | None]:
    """The projection, for a command; None when there is no database."""
    path = config.state / DATABASE
    if not path.is_file():
        yield None
        return
    engine = open_sqlite(path)
    try:
        yield SqlProjection(engine)
    finally:
        engine.dispose()


def logs_of(config: Config) -> dict[str, Path]:
    """The logs that there are, by name: the gate's own and those of ``portcullis mcp``."""
    others = (config.state / "mcp").glob("*/log.vkey")
    found = {GATE: audit_directory(config)} | {path.parent.name: path.parent for path in others}
    return {name: path for name, path in sorted(found.items()) if (path / "log.vkey").is_file()}


def caught_up(projector: Projector, advance: Callable[[int], None] = lambda _: None) -> int:
    """Project all that is signed; how many entries that were, told to ``advance`` as it goes."""
    total = 0
    while count := projector.step():
        total += count
        advance(count)
    return total
