"""The queue of calls to be looked at afterwards, beside a running gate; and what gets into it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog

from portcullis.audit.export.source import Source
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.projection import kept_up, projection_of
from portcullis.config import Config
from portcullis.config.places import Role, logs_of
from portcullis.control.services import Services
from portcullis.core.call import Action, RiskClass
from portcullis.core.errors import Problem
from portcullis.store.projection import Projector, SqlProjection

_SOON_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 60.0
_TRIM_EVERY: Final = 60
_SPACING_SECONDS: Final = 0.05
"""Between two transactions, so that the gate's other writers are not kept waiting."""

Sleep: TypeAlias = Callable[[float], Awaitable[None]]

log = structlog.get_logger(__name__)


def flagged(config: Config) -> frozenset[tuple[Action, RiskClass]]:
    """The calls that are to be looked at when they pass without a human."""
    actions, risks = config.review.actions, config.review.risks
    return frozenset(itertools.product(map(Action, actions), map(RiskClass, risks)))


async def upkeep(config: Config, services: Services, sleep: Sleep = asyncio.sleep) -> None:
    """Every minute, until cancelled: read what other logs have, remind, forget. Who rules does.

    A ``portcullis mcp`` may end before it has read its own log.
    """
    own = services.gateway.rpartition("/")[2]
    if services.review_parts is None or not Role.of(own).rules:
        return
    work = services.reviews("gate")
    await sleep(_SOON_SECONDS)
    with contextlib.ExitStack() as stack:
        projection = await _opened(stack, config, sleep)
        for minute in itertools.count():
            if projection is not None:
                await _read(config, projection, own)
            for each in (work.remind, work.trim) if minute % _TRIM_EVERY == 0 else (work.remind,):
                try:
                    await each()
                except Exception as error:  # noqa: BLE001 - nothing ends it but the gate's end
                    log.warning("reviews_not_kept", fault=_named(error))
            await sleep(_LOOK_SECONDS)


async def _opened(
    stack: contextlib.ExitStack, config: Config, sleep: Sleep
) -> SqlProjection | None:
    """The projection, as soon as the store can be used; nothing else waits for that."""
    while True:
        try:
            return await asyncio.to_thread(stack.enter_context, projection_of(config))
        except Problem as problem:
            log.warning("reviews_not_kept", fault=problem.code)
            await sleep(_LOOK_SECONDS)


async def _read(config: Config, projection: SqlProjection, own: str) -> None:
    """Project what is signed of the logs that nobody projects all the time."""
    others = logs_of(config)
    for name in kept_up(config, own):
        others.pop(name, None)
    for name, directory in others.items():
        try:
            projector = Projector(projection, name, Source(directory, own_verifier(directory)))
            while await asyncio.to_thread(projector.step):  # noqa: ASYNC110 - it gives way
                await asyncio.sleep(_SPACING_SECONDS)
        except Exception as error:  # noqa: BLE001 - the other logs are read all the same
            log.warning("log_not_read", log=name, fault=_named(error))


def _named(error: Exception) -> str:
    return error.code if isinstance(error, Problem) else type(error).__name__
