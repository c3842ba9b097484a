"""What may be used only once, at whichever gateway of any host: ``core.ports.Once``, shared."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import structlog

from portcullis.core.ports import Clock
from portcullis.identity.once import CAPACITY, SHARE
from portcullis.store.redis_script import REFUSE, Timed
from portcullis.store.shared_server import Away, Server

log = structlog.get_logger(__name__)

_SPEND: Final = Timed(
    REFUSE
    + """
local run = string.match(told, 'run_id:(%x+)')
local epoch = redis.call('HMGET', KEYS[1], 'run', 'id', 'since')
if epoch[1] ~= run then
  local since = ARGV[3]
  if epoch[1] or ARGV[2] ~= '' then since = ARGV[4] end
  epoch = {run, ARGV[1], since}
  redis.call('HSET', KEYS[1], 'run', run, 'id', ARGV[1], 'since', since)
end
redis.call('EXPIRE', KEYS[1], 604800)
if epoch[2] ~= ARGV[2] then return {0, epoch[2], epoch[3]} end
local full = false
for i = 2, #KEYS do
  local old = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', ARGV[1], 'LIMIT', 0, 64)
  if #old > 0 then redis.call('ZREM', KEYS[i], unpack(old)) end
  if redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[5 + i]) then full = true end
end
if full or redis.call('ZADD', KEYS[2], 'NX', ARGV[6], ARGV[5]) == 0 then
  return {0, epoch[2], epoch[3]}
end
if KEYS[3] then redis.call('ZADD', KEYS[3], ARGV[6], ARGV[5]) end
for i = 2, #KEYS do
  local left = math.ceil(tonumber(ARGV[6]) - now) + 60
  if redis.call('TTL', KEYS[i]) < left then redis.call('EXPIRE', KEYS[i], left) end
end
return {1, epoch[2], epoch[3]}
"""
)
"""KEYS: epoch, what was spent, what one holder spent. ARGV: now, the epoch that is known, since
when a new memory remembers, since when one that follows another does; the key, until when, and how
many each of the two may hold."""


class RedisOnce:
    """Implements ``core.ports.Once`` for all processes with the same server.

    As ``store.once.SharedOnce``; and when the server has lost what it had, or may have lost the
    last of it (a restart, a failover), whatever was made before is refused: ``skew`` is how many
    seconds ahead proofs may be dated. A server that cannot be reached lets nobody in.
    """

    def __init__(
        self, server: Server, clock: Clock, *, skew: float = 0.0, capacity: int = CAPACITY
    ) -> None:
        self.server = server
        self._clock = clock
        self._skew = skew
        self._capacity = capacity
        self._epoch = b""
        self._since = 0.0
        self._failing = False
        self._keys = [server.part("once") + name for name in ("#epoch", "#spent", "#held:")]
        self.spend(b"", clock.now() + 1)  # to know since when it remembers

    @property
    def since(self) -> float:
        """When this memory began, as far as this process knows."""
        return self._since

    def spend(self, key: bytes, until: float, holder: str = "") -> bool:
        """True the first time that ``key`` is seen, by any process, before its ``until``.

        What is asked in an epoch that this process did not know is refused: it may be older.
        """
        asked = self._asked(key, until, holder)
        if asked is None:
            return False
        try:
            return self._told(self.server.wait(_SPEND, *asked))
        except Away as away:
            return self._failed(away)

    async def spent(self, key: bytes, until: float, holder: str = "") -> bool:
        """The same, without blocking."""
        asked = self._asked(key, until, holder)
        if asked is None:
            return False
        try:
            return self._told(await self.server.ask(_SPEND, *asked))
        except Away as away:
            return self._failed(away)

    def close(self) -> None:
        """Use it no more: the server is whose it was."""

    def _asked(self, key: bytes, until: float, holder: str) -> tuple[Any, ...] | None:
        """Keys and arguments of the script; None for what is over."""
        now = self._clock.now()
        if until <= now:
            return None
        keys = self._keys[:2]
        if holder:
            keys.append(self._keys[2] + hashlib.sha256(holder.encode()).hexdigest()[:32])
        whole = int(now)
        began = whole, whole + 1 + self._skew
        room = self._capacity, self._capacity // SHARE
        return keys, f"{now:.6f}", self._epoch, *began, key, f"{until:.6f}", *room

    def _told(self, said: Any) -> bool:
        done, epoch, since = said
        self._failing = False
        if epoch != self._epoch:
            if self._epoch:
                log.warning("once_began_anew", since=float(since))
            self._epoch, self._since = epoch, float(since)
        return bool(done)

    def _failed(self, away: Away) -> bool:
        if not self._failing:  # once, not with every request
            log.error("once_failed", fault=str(away))
        self._failing = True
        return False
