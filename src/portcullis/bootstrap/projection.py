"""The projection of the audit logs in the record store: kept up by the gate, asked by commands."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Engine

from portcullis.audit.export.source import Source
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.background import background
from portcullis.bootstrap.records import recorded, records
from portcullis.config import Config
from portcullis.config.places import Role, audit_directory, gateway_logs
from portcullis.core.errors import Problem
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


def kept_up(config: Config, own: str) -> tuple[str, ...]:
    """The logs that the writer of ``own`` projects all the time.

    The control plane does so for its gateways, so that one process writes the rows.
    """
    match Role.of(own):
        case Role.GATEWAY:
            return ()
        case Role.CONTROL:
            return own, *gateway_logs(config)
        case _:
            return (own,)


class _Kept:
    """The projection of some logs as a process keeps it; opened when it is first needed.

    ``names`` says which, and is asked each time.
    """

    def __init__(self, config: Config, names: Callable[[], tuple[str, ...]]) -> None:
        self._config = config
        self._names = names
        self._engine: Engine | None = None
        self._projectors: dict[str, Projector] = {}
        self._later: dict[str, float] = {}
        self._said: dict[str, str] = {}

    def step(self) -> int:
        """As ``Projector.step``, once for each log that is not faulty. Blocks; never raises."""
        total = 0
        for name in self._names():
            if time.monotonic() < self._later.get(name, 0.0):
                continue
            try:
                total += self._projector(name).step()
                self._said.pop(name, None)
            except Exception as error:  # noqa: BLE001 - the other logs are read all the same
                self._failed(name, error)
        return total

    def lag(self) -> float:
        """How many entries were not projected, when it last looked."""
        return sum(projector.lag for projector in tuple(self._projectors.values()))

    def close(self) -> None:
        """Let the database go."""
        if self._engine is not None:
            self._engine.dispose()

    def _projector(self, name: str) -> Projector:
        if name not in self._projectors:
            directory = audit_directory(self._config, name)
            source = Source(directory, own_verifier(directory))
            if self._engine is None:
                self._engine = records(self._config)
            self._projectors[name] = Projector(SqlProjection(self._engine), name, source)
        return self._projectors[name]

    def _failed(self, name: str, error: Exception) -> None:
        """It costs queries time and nothing else: it is said once and tried again."""
        self._later[name] = time.monotonic() + _FAULT_SECONDS
        fault = error.code if isinstance(error, Problem) else type(error).__name__
        if fault != self._said.get(name):
            log.warning("projection_failing", log=name, fault=fault)
            self._said[name] = fault


@contextlib.asynccontextmanager
async def projecting(config: Config, name: str, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Project what the writer of the log called ``name`` has to, beside the block.

    It begins a moment after the block does.
    """
    if Role.of(name) is Role.GATEWAY:
        yield
        return
    kept = _Kept(config, partial(kept_up, config, name))
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
    """For ever."""
    await asyncio.sleep(_START_SECONDS)
    while True:
        began = time.perf_counter()
        count = await asyncio.to_thread(kept.step)
        rest = _REST * min(1.0, time.perf_counter() - began)
        await asyncio.sleep(max(_SPACING_SECONDS, rest) if count else _IDLE_SECONDS)


@contextlib.contextmanager
def projection_of(config: Config) -> Iterator[SqlProjection | None]:
    """The projection, for a command; None when there is no database."""
    if not recorded(config):
        yield None
        return
    engine = records(config)
    try:
        yield SqlProjection(engine)
    finally:
        engine.dispose()


def caught_up(projector: Projector, advance: Callable[[int], None] = lambda _: None) -> int:
    """Project all that is signed; how many entries that were, told to ``advance`` as it goes."""
    total = 0
    while count := projector.step():
        total += count
        advance(count)
    return total
