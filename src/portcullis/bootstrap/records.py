"""The record store of a deployment, opened as it is configured."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Engine

from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.execution.secrets import local_secrets
from portcullis.store.engine import open_store
from portcullis.store.postgresql import is_postgresql

DATABASE: Final = "portcullis.db"
"""Below the state directory, unless `store.url` says otherwise."""
LOCK: Final = "control.lock"
"""Below the state directory: held by the one process that rules the deployment."""
_AGAIN_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


def records(config: Config) -> Engine:
    """Open the store, made and migrated as needed; whoever opens it disposes of it.

    Raises Problem PC7001 when it cannot be used, and what reading a secret raises.
    """
    return open_store(place_of(config), pool=config.store.pool)


@contextlib.asynccontextmanager
async def records_beside(
    config: Config, work: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[Engine]:
    """The same for ``work`` beside a gate that serves: opened as soon as it can be used.

    Nothing else waits for a database that is away meanwhile, and nothing ends by it.
    """
    while True:
        try:
            engine = await asyncio.to_thread(records, config)
            break
        except Problem as problem:
            log.warning("store_not_opened", work=work, fault=problem.code)
            await sleep(_AGAIN_SECONDS)
    try:
        yield engine
    finally:
        engine.dispose()


def recorded(config: Config) -> bool:
    """Whether there is a store, for a command that makes none."""
    return config.store.url is not None or (config.state / DATABASE).is_file()


def place_of(config: Config) -> Path | str:
    """Its file, or its address, which may hold a password. Raises Problem PC7001."""
    if config.store.url is None:
        return config.state / DATABASE
    url = local_secrets(os.environ).resolve(config.store.url).reveal().strip()
    if not is_postgresql(url):
        hint = "It begins with postgresql://."
        raise Problem("PC7001", "store.url is no address of PostgreSQL", hint=hint)
    return url
