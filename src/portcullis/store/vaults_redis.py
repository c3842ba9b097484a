"""Placeholders that the gateways of several hosts know, in Valkey or Redis.

As ``store.vaults_shared``, whose rows these are: sealed for a vault and a number before they leave
the process. A row is added only to what its gateway has read (compare and append), so that no two
give the same number. What was hidden before the server lost something is forgotten, all of it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Collection
from typing import Any, Final

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.store import vaults as local
from portcullis.store.redis_script import Script, Timed
from portcullis.store.shared_server import EPOCH, KEPT, Away, Server, unusable
from portcullis.store.vaults_shared import SharedVault, seal, unseal

log = structlog.get_logger(__name__)

_WHAT: Final = "the session's placeholders cannot be read or written"
_KEPT_SECONDS: Final = 600.0
"""What was read of a vault is kept for so long after it was last asked for."""
_TRIES: Final = 64
"""How often others may add to a vault between reading it and adding to it."""
_KNOWN: Final = (
    EPOCH
    + """
local vault = redis.call('HMGET', KEYS[2], 'epoch', 'id', 'given', 'size', 'used', 'last')
if vault[1] and vault[1] ~= since then
  redis.call('DEL', KEYS[2], KEYS[3])
  vault = {false, false, false, false, false, false}
end
"""
)
_READ: Final = Timed(
    _KNOWN
    + """
if vault[2] and now - tonumber(vault[5]) >= tonumber(ARGV[4]) then
  vault[6] = string.format('%.0f', tonumber(vault[3]) + redis.call('LLEN', KEYS[3]))
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('SREM', KEYS[4], ARGV[6])
  redis.call('HSET', KEYS[2], 'epoch', since, 'last', vault[6])
  redis.call('EXPIRE', KEYS[2], ARGV[7])
  vault[2] = false
end
if not vault[2] then return {since, vault[6] or '', '0', '0', '0', {}} end
if now - tonumber(vault[5]) >= tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[2], 'used', ARGV[1])
  for i = 2, 4 do redis.call('EXPIRE', KEYS[i], ARGV[7]) end
end
local from = 0
if vault[2] == ARGV[2] then from = tonumber(ARGV[3]) end
return {since, '', vault[2], vault[3], vault[4], redis.call('LRANGE', KEYS[3], from, -1)}
"""
)
"""KEYS: epoch, vault, its rows, the part's index. ARGV: now, the vault's id as far as it is known,
rows that were read of it, idle seconds, seconds after which a use is written down, key, seconds."""
_ADD: Final = Timed(
    _KNOWN
    + """
if since ~= ARGV[2] then return 0 end
if vault[2] then
  if vault[2] ~= ARGV[3] or redis.call('LLEN', KEYS[3]) ~= tonumber(ARGV[4]) then return 0 end
else
  if ARGV[4] ~= '0' or tonumber(vault[6] or '0') > tonumber(ARGV[5]) then return 0 end
  redis.call('HSET', KEYS[2], 'epoch', since, 'id', ARGV[3], 'given', ARGV[5], 'size', 0)
end
redis.call('RPUSH', KEYS[3], ARGV[6])
redis.call('HINCRBY', KEYS[2], 'size', ARGV[7])
redis.call('HSET', KEYS[2], 'used', ARGV[1])
redis.call('SADD', KEYS[4], ARGV[8])
for i = 2, 4 do redis.call('EXPIRE', KEYS[i], ARGV[9]) end
return 1
"""
)
"""KEYS: as above. ARGV: now, the epoch that was read, the vault's id, rows that were read of it,
the number that it begins after, the row, its value's size, key, seconds. 0: read it again."""
_FORGET: Final = Script(
    "redis.call('SREM', KEYS[3], ARGV[1]) return redis.call('DEL', KEYS[1], KEYS[2])"
)
_INDEX: Final = Script("return redis.call('SMEMBERS', KEYS[1])")


class RedisVaults:
    """Implements ``core.inspection_ports.Vaults`` for all processes with the same server and key.

    ``key`` has 32 bytes. How many vaults there are is bounded by the server's memory alone: where
    that is full it refuses, and so does this. Use it from one event loop: to hide a value that is
    new to the session blocks that for an answer of the server.
    """

    def __init__(
        self,
        server: Server,
        key: bytes,
        clock: Clock,
        *,
        idle_seconds: float = local.IDLE_SECONDS,
    ) -> None:
        self._server = server
        self._clock = clock
        self._cipher = AESGCM(key)
        self._idle = idle_seconds
        self._touches = min(60.0, idle_seconds / 8)
        self._read: dict[str, SharedVault] = {}
        self._epochs: dict[str, bytes] = {}
        server.begin("vaults", clock)

    async def refresh(self, key: str, since: float = math.inf) -> None:
        """See Vaults. Raises Problem PC7050."""
        vault = self._known(key, since)
        for _ in range(_TRIES):
            before = vault.id, vault.seen
            try:
                said = await self._server.ask(_READ, self._keys(key), *self._asked(vault))
            except Away:
                raise unusable(_WHAT) from None
            if self._adopt(vault, before, said):
                return
        raise unusable(_WHAT)

    def vault(self, key: str, since: float = math.inf) -> SharedVault:
        """See Vaults; one that was not refreshed is read. Raises Problem PC7050."""
        vault = self._known(key, since)
        if key not in self._epochs:
            self._look(vault)
        return vault

    def add(self, vault: SharedVault, entity: str, value: str) -> str:
        """Hide a value that is not known to be hidden; see ``SharedVault.hide``."""
        size = len(value.encode("utf-8", "surrogatepass"))
        for turn in range(_TRIES):
            if turn or vault.key not in self._epochs:
                self._look(vault)
            known = vault.known(entity, value)
            if known is not None:
                return known
            if not vault.room(size):
                raise Problem("PC3025", "too many values behind placeholders: open a new session")
            placeholder = self._append(vault, entity, value, size)
            if placeholder is not None:
                return placeholder
        raise unusable(_WHAT)

    def end(self, is_open: Callable[[str], bool]) -> None:
        """Forget the vaults of sessions that this gateway has seen, and that are open no more.

        Never raises, and awaits nothing: what cannot be forgotten is swept, or expires.
        """
        ended = [key for key in self._read if not is_open(key)]
        if ended and self._server.up:
            self._server.later(self._forgotten(ended))
        until = self._clock.monotonic() - _KEPT_SECONDS
        old = [key for key, one in self._read.items() if one.asked_at <= until]
        self._drop((*ended, *old))

    async def keys(self) -> tuple[str, ...]:
        """Whose vaults there are, whoever made them. Raises Problem PC7050."""
        found: list[str] = []
        try:
            for part in self._server.all("vaults"):
                said = await self._server.ask(_INDEX, [part + "#index"])
                found += [key.decode() for key in said]
        except Away:
            raise unusable(_WHAT) from None
        return tuple(found)

    async def forget(self, keys: Collection[str]) -> None:
        """Forget vaults. Raises Problem PC7050: then try it again."""
        self._drop(keys)
        try:
            for key in keys:
                await self._server.ask(_FORGET, self._keys(key)[1:], key)
        except Away:
            raise unusable(_WHAT) from None

    async def _forgotten(self, keys: Collection[str]) -> None:
        try:
            for key in keys:
                await self._server.run(_FORGET, self._keys(key)[1:], key)
        except Away as away:
            log.warning("vaults_not_forgotten", fault=str(away))

    def _known(self, key: str, since: float) -> SharedVault:
        found = self._read.get(key)
        if found is None:
            found = self._read[key] = SharedVault(self, key, since)
        found.asked_at = self._clock.monotonic()
        return found

    def _drop(self, keys: Collection[str]) -> None:
        for key in keys:
            self._read.pop(key, None)
            self._epochs.pop(key, None)

    def _look(self, vault: SharedVault) -> None:
        before = vault.id, vault.seen
        try:
            said = self._server.wait(_READ, self._keys(vault.key), *self._asked(vault))
        except Away:
            raise unusable(_WHAT) from None
        self._adopt(vault, before, said)

    def _adopt(self, vault: SharedVault, before: tuple[int, int], said: Any) -> bool:
        """Know what a vault has become since it was as ``before``; False when it is another now."""
        epoch, last, id_, given, size, rows = said
        if vault.id not in {before[0], int(id_)}:
            return False
        self._epochs[vault.key] = epoch
        if id_ == b"0":
            vault.state(0, int(last or self._lasted(vault, float(epoch))), 0, 0.0)
            return True
        first = before[1] + 1 if int(id_) == before[0] else 1
        vault.state(int(id_), int(given), max(int(size), vault.size), 0.0)
        try:
            for number, row in enumerate(rows, first):
                if number > vault.seen:
                    vault.adopt(number, *unseal(self._cipher, vault, number, row))
        except (InvalidTag, ValueError) as error:
            log.error("vaults_failed", error=type(error).__name__)  # noqa: TRY400 - it says enough
            self._drop([vault.key])
            raise unusable(_WHAT) from None
        return True

    def _append(self, vault: SharedVault, entity: str, value: str, size: int) -> str | None:
        """One more row, unless others have added some: then None."""
        new = not vault.id
        if new:
            vault.state(secrets.randbits(52) + 1, vault.given, 0, 0.0)
        number, placeholder = vault.next(entity)
        row = seal(self._cipher, vault, number, (entity, placeholder, value))
        now, epoch = f"{self._clock.now():.6f}", self._epochs[vault.key]
        more = (now, epoch, vault.id, vault.seen, vault.given, row, size, vault.key, KEPT)
        try:
            done = self._server.wait(_ADD, self._keys(vault.key), *more)
        except Away:
            self._drop([vault.key])  # it may be there: read it again
            raise unusable(_WHAT) from None
        if not done:
            if new:
                vault.gone()
            return None
        vault.size += size
        vault.adopt(number, entity, placeholder, value)
        return placeholder

    def _lasted(self, vault: SharedVault, epoch: float) -> int:
        """What numbers begin after: an earlier vault of this key may have given some."""
        now = self._clock.now()
        return 0 if vault.since >= epoch else int(max(now - vault.since, 0) * 1e6)

    def _keys(self, key: str) -> list[str]:
        part = self._server.of("vaults", key)
        return [part + "#epoch", f"{part}v:{key}", f"{part}r:{key}", part + "#index"]

    def _asked(self, vault: SharedVault) -> tuple[Any, ...]:
        now = f"{self._clock.now():.6f}"
        return now, vault.id, vault.seen, self._idle, self._touches, vault.key, KEPT
