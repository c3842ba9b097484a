"""Logs of other hosts that lie at the control plane are pruned there, as they say they were."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import structlog
from sqlalchemy import Engine

from portcullis.audit.pruning_copy import PrunedCopy
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.floor import evidenced
from portcullis.config import Config
from portcullis.config.places import VKEY, audit_directory
from portcullis.control.privacy import PrivacyParts
from portcullis.core.errors import Problem
from portcullis.core.hosts import Presences
from portcullis.core.ports import Clock
from portcullis.store.projection import SqlProjection

_SOON_SECONDS: Final = 90.0
_DAY_SECONDS: Final = 86_400.0
_REST_SECONDS: Final = 0.01
"""After each bundle: whoever waits for a disk comes first."""

Sleep: TypeAlias = Callable[[float], Awaitable[None]]

log = structlog.get_logger(__name__)


class PrunedHosts:
    """Prunes the copies of the logs that gateways of other hosts announce.

    Every method blocks; one thread at a time.
    """

    def __init__(
        self,
        config: Config,
        presences: Presences,
        engine: Engine,
        privacy: PrivacyParts,
        clock: Clock,
    ) -> None:
        self._config = config
        self._presences = presences
        self._projection = SqlProjection(engine)
        self._privacy = privacy
        self._clock = clock
        self._copies: dict[str, PrunedCopy] = {}

    def names(self) -> list[str]:
        """The logs that are here. Raises Problem PC9002."""
        found = {one.log for one in self._presences.all() if one.apart}
        return sorted(name for name in found if (self._place(name) / VKEY).exists())

    def prune(self, name: str) -> int:
        """Prune one by ``audit.retention`` and the holds here; how many entries went.

        Raises Problem PC6001, PC6002 and PC6005.
        """
        if name not in self._copies:
            directory = self._place(name)
            forget = partial(self._projection.forget, name)
            self._copies[name] = PrunedCopy(directory, own_verifier(directory), forget)
        return self._copies[name].step(
            self._config.audit.retention.due(self._clock.now()),
            self._privacy.book.in_force(),
            evidenced(self._config, name),
            partial(time.sleep, _REST_SECONDS),
        )

    def _place(self, name: str) -> Path:
        return audit_directory(self._config, name)


async def pruning_hosts(
    pruned: PrunedHosts, privacy: PrivacyParts, sleep: Sleep = asyncio.sleep
) -> None:
    """Prune them soon after the start and every day, until cancelled.

    One that cannot be pruned stays, is told of, and is tried again the day after.
    """
    await sleep(_SOON_SECONDS)
    while True:
        try:
            for name in await asyncio.to_thread(pruned.names):
                await _prune(pruned, privacy, name)
        except Problem as problem:
            log.warning("logs_not_pruned", fault=problem.code)
        await sleep(_DAY_SECONDS)


async def _prune(pruned: PrunedHosts, privacy: PrivacyParts, name: str) -> None:
    try:
        async with privacy.acting:  # nobody makes a hold meanwhile
            gone = await asyncio.to_thread(pruned.prune, name)
    except Exception as error:  # noqa: BLE001 - no fault ends what is promised for ever
        fault = error.code if isinstance(error, Problem) else type(error).__name__
        log.warning("log_not_pruned", log=name, fault=fault)
    else:
        if gone:
            log.info("log_pruned", log=name, entries=gone)
