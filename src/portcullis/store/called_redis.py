"""What sessions have called at which servers, at gateways of any host; see ``checks.overheard``."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, Final

from portcullis.core.ports import Clock
from portcullis.store.called import MOST
from portcullis.store.redis_script import Script, Timed
from portcullis.store.shared_server import EPOCH, KEPT, Away, Server, unusable

_WHAT: Final = "what the session has called cannot be read or written"
_NOTE: Final = Timed(
    EPOCH
    + """
if redis.call('HGET', KEYS[2], 'epoch') ~= since then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'epoch', since)
  if tonumber(ARGV[3]) < tonumber(since) then redis.call('HSET', KEYS[2], 'n:', 1) end
end
redis.call('HSET', KEYS[2], 'n:' .. ARGV[2], 1)
return redis.call('EXPIRE', KEYS[2], ARGV[4])
"""
)
"""KEYS: epoch, the session at the server. ARGV: now, name, when the session began, seconds."""
_NAMES: Final = Timed(
    EPOCH
    + """
if redis.call('HGET', KEYS[2], 'epoch') ~= since then return {} end
return redis.call('HKEYS', KEYS[2])
"""
)


class RedisCalled:
    """Implements ``checks.overheard.Called`` for all processes with the same server.

    A session that began before the server lost something may have called anything. Both methods
    raise Problem PC7050: then nothing goes out.
    """

    def __init__(self, server: Server, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._noted: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        """What need not be written again: who notes more after a loss says that there was one."""
        server.begin("called", clock)

    async def note(self, session: str, server: str, name: str, since: float = math.inf) -> None:
        """See Called."""
        key = (session, server, name)
        if key in self._noted:
            return
        began = f"{min(since, 1e15):.6f}"
        await self._ask(_NOTE, session, server, name, began, KEPT)
        self._noted[key] = None
        if len(self._noted) > MOST:
            self._noted.popitem(last=False)

    async def names(self, session: str, server: str) -> frozenset[str]:
        """See Called."""
        found = await self._ask(_NAMES, session, server)
        return frozenset(name[2:].decode() for name in found if name.startswith(b"n:"))

    async def _ask(self, script: Script, session: str, server: str, *arguments: Any) -> Any:
        part = self._server.of("called", session)
        keys = [part + "#epoch", f"{part}{session}:{server}"]
        try:
            return await self._server.ask(script, keys, f"{self._clock.now():.6f}", *arguments)
        except Away:
            raise unusable(_WHAT) from None
