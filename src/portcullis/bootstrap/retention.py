"""What is kept only for a time: content, beside a running gate."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

import structlog

from portcullis.audit.content import ContentStore
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.errors import Problem

_SECONDS: Final = 3600.0

log = structlog.get_logger(__name__)


def contents_of(config: Config, services: Services) -> ContentStore | None:
    """Where content is kept; None when the configuration wants none."""
    parts = services.privacy_parts
    return None if parts is None or config.audit.content.keep == "off" else parts.contents


async def expiring(config: Config, services: Services) -> None:
    """Destroy content that is past its time, at once and every hour, for ever."""
    parts = services.privacy_parts
    while parts is not None and parts.contents is not None:
        before = config.audit.content.expired(services.clock.now())
        try:
            gone = await asyncio.to_thread(parts.expire, before)
        except (Problem, sqlite3.Error) as error:
            fault = error.code if isinstance(error, Problem) else type(error).__name__
            log.warning("content_not_expired", fault=fault)
        else:
            if gone:
                log.info("content_expired", fields=gone)
        await asyncio.sleep(_SECONDS)
