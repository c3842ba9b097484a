"""The last calls of each session, at gateways of any host: ``oversight.recent.Remembered``."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portcullis.core.approval import Step
from portcullis.oversight.recent import STEPS
from portcullis.store.recent import seal, unseal
from portcullis.store.redis_script import Script
from portcullis.store.shared_server import KEPT, Away, Server

log = structlog.get_logger(__name__)

_WAITING: Final = 1024
"""Steps that wait to be written; more are left out."""
_ADD: Final = Script("""
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
return redis.call('EXPIRE', KEYS[1], ARGV[3])
""")
_LAST: Final = Script("""
local found = redis.call('LRANGE', KEYS[1], 0, -1)
for _, row in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do found[#found + 1] = row end
return found
""")


class RedisRecent:
    """Implements ``Remembered`` for all processes with the same server and ``key`` of 32 bytes.

    The steps are sealed. What cannot be written or read is left out, and logged: the approver
    then sees fewer calls.
    """

    def __init__(self, server: Server, key: bytes) -> None:
        self._server = server
        self._cipher = AESGCM(key)
        self._writing: set[Future[None]] = set()

    def add(self, key: str, step: Step, *, acts: bool) -> None:
        """See Remembered."""
        if not self._server.up or len(self._writing) >= _WAITING:
            log.warning("recent_failed", error="away" if not self._server.up else "full")
            return
        row = seal(self._cipher, key, step)
        writing = self._server.later(self._write(self._keys(key)[acts], row))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def of(self, key: str) -> tuple[Step, ...]:
        """See Remembered."""
        try:
            rows = await self._server.ask(_LAST, self._keys(key))
            return tuple(unseal(self._cipher, key, row) for row in rows)
        except (Away, InvalidTag, msgspec.MsgspecError) as error:
            log.warning("recent_failed", error=type(error).__name__)
            return ()

    async def _write(self, key: str, row: bytes) -> None:
        try:
            await self._server.run(_ADD, [key], row, STEPS, KEPT)
        except Away as away:
            log.warning("recent_failed", error=str(away))

    def _keys(self, key: str) -> list[str]:
        part = self._server.of("recent", key)
        return [f"{part}r:{key}", f"{part}a:{key}"]
