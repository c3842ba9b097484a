"""Which gateway, on any host, keeps what has to stay in one place: ``core.relay_ports.Claims``."""

from __future__ import annotations

import re
import secrets
from typing import Any, Final

from portcullis.config.common import NAME
from portcullis.store.redis_script import Script
from portcullis.store.shared_server import KEPT, Away, Server, unusable

_NAME: Final = re.compile(NAME)
_WHAT: Final = "it cannot be said which gateway keeps it"
_CLAIM: Final = Script("""
local found = redis.call('GET', KEYS[1])
if not found or found == ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  return ARGV[1]
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return found
""")
"""KEYS: the claim. ARGV: who claims, seconds, whose claim is over ('' for nobody's)."""
_RELEASE: Final = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")
_TOLD: Final = Script("return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])")
_RUNS: Final = Script("return redis.call('GET', KEYS[1])")


class RedisClaims:
    """Implements ``core.relay_ports.Claims`` for all processes with the same server.

    A claim names the gateway and this process of it, so what an earlier process of that name kept
    is gone with it. A claim that nobody made use of for a day is gone.
    """

    def __init__(self, server: Server, gateway: str) -> None:
        self._server = server
        self._name = gateway
        self._run = secrets.token_hex(8)
        self._told = False

    async def claim(self, key: str, gateway: str) -> str:
        """See Claims."""
        return await self._claimed(key, gateway, "")

    async def take(self, key: str, gateway: str, gone: str) -> str:
        """See Claims."""
        found = await self._ask(_CLAIM, self._at(key), self._value(gateway), KEPT, "")
        if _owner(found) != gone:
            return _owner(found)
        return await self._claimed(key, gateway, found)

    async def release(self, key: str, gateway: str) -> None:
        """See Claims."""
        await self._ask(_RELEASE, self._at(key), self._value(gateway))

    async def _claimed(self, key: str, gateway: str, over: str | bytes) -> str:
        if not self._told:
            await self._ask(_TOLD, self._runs(self._name), self._run, 7 * KEPT)
            self._told = True
        found = await self._ask(_CLAIM, self._at(key), self._value(gateway), KEPT, over)
        owner, run = _owner(found), found.partition(b"\0")[2].decode()
        if owner == self._name == gateway and run == self._run:
            return owner
        runs = await self._ask(_RUNS, self._runs(owner))
        if runs is None or runs.decode() == run or over == found:
            return owner
        return await self._claimed(key, gateway, found)  # that process is no more

    def _value(self, gateway: str) -> str:
        return f"{gateway}\0{self._run if gateway == self._name else ''}"

    def _at(self, key: str) -> str:
        return self._server.of("claims", key) + key

    def _runs(self, gateway: str) -> str:
        return self._server.of("claims", gateway) + f"#run:{gateway}"

    async def _ask(self, script: Script, key: str, *arguments: Any) -> Any:
        try:
            return await self._server.ask(script, [key], *arguments)
        except Away:
            raise unusable(_WHAT) from None


def _owner(found: bytes) -> str:
    """The gateway whose claim it is. Who writes to the server may have put anything there."""
    owner = found.partition(b"\0")[0].decode("ascii", "replace")
    if not _NAME.fullmatch(owner):
        raise unusable(_WHAT)
    return owner
