"""Whether the server that keeps limits' counts keeps them, for ``portcullis doctor``."""

from __future__ import annotations

import asyncio

from portcullis.bootstrap import SystemClock
from portcullis.bootstrap.limits import KEPT
from portcullis.config import Config
from portcullis.execution.secrets import Secrets
from portcullis.store.counters_redis import RedisCounter


def counts(config: Config, secrets: Secrets) -> tuple[bool, str, str]:
    """Whether it is in order, what was found, and what to do. For ``via: redis`` alone.

    Raises Problem PC3073 when the server cannot be reached, or the secret's own.
    """

    async def look(url: str) -> str:
        counter = RedisCounter(url, config.trust_domain, SystemClock())
        try:
            return await counter.lacking()
        finally:
            await counter.close()

    reference = config.counters.url or ""
    lacking = asyncio.run(look(secrets.resolve(reference).reveal()))
    return not lacking, f"{reference}: {lacking or 'it keeps what is counted'}", KEPT
