"""What is kept only for a time: content and events, beside a running gate."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec
import structlog

from portcullis.audit.content import ContentStore
from portcullis.audit.pruned import PRUNE
from portcullis.config import Config
from portcullis.control.pruning import Tell
from portcullis.control.services import Services
from portcullis.core.desk_ports import Precedents
from portcullis.core.errors import Problem
from portcullis.gateway.records import changed

_SECONDS: Final = 3600.0
_DAY_SECONDS: Final = 86_400.0
_SOON_SECONDS: Final = 60.0

Sleep: TypeAlias = Callable[[float], Awaitable[None]]

log = structlog.get_logger(__name__)


def contents_of(config: Config, services: Services) -> ContentStore | None:
    """Where content is kept from now on; None when the configuration wants none.

    Who can read it is put on record; where it has no readers it is the service.
    """
    parts, keep = services.privacy_parts, config.audit.content.keep
    contents = None if parts is None or keep == "off" else parts.contents
    if contents is not None:
        said = {"keep": keep, "readers": list(contents.readers)}
        event = changed(services.gateway, services.clock, "content.readers", said)
        services.recorder.enqueue(event)
    return contents


def precedents_of(config: Config, services: Services) -> Precedents | None:
    """What keeps the arguments of approved calls; nothing where only others may read content."""
    parts = services.desk_parts
    return None if parts is None or config.audit.content.encrypt_to else parts.precedents


async def expiring(config: Config, services: Services) -> None:
    """Destroy content past its time and what ended sessions left, at once and every hour."""
    parts = services.privacy_parts
    while parts is not None:
        before = config.audit.content.expired(services.clock.now())
        try:
            gone = await asyncio.to_thread(parts.expire, before)
            await asyncio.to_thread(parts.forget)
        except (Problem, sqlite3.Error) as error:
            fault = error.code if isinstance(error, Problem) else type(error).__name__
            log.warning("content_not_expired", fault=fault)
        else:
            if gone:
                log.info("content_expired", fields=gone)
        await asyncio.sleep(_SECONDS)


async def pruning(services: Services, sleep: Sleep = asyncio.sleep) -> None:
    """Prune what is past its maximum, soon after the start and every day, until cancelled.

    A segment that cannot be pruned stays, is told of, and is tried again the day after.
    """
    work = services.pruning()
    await sleep(_SOON_SECONDS)
    while True:
        before = work.before()
        for segment in work.segments():
            try:
                await work.step(segment, before, _tell(services), patient=True)
            except Exception as error:  # noqa: BLE001 - no fault ends what is promised for ever
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                log.warning("log_not_pruned", fault=fault, segment=segment)
        await sleep(_DAY_SECONDS)


def _tell(services: Services) -> Tell:
    async def tell(name: str, said: Mapping[str, Any]) -> None:
        event = changed(services.gateway, services.clock, PRUNE, said)
        await services.recorder.durable(msgspec.structs.replace(event, name=name))
        log.info("log_pruned", entries=said["count"], first=said["first"])

    return tell
