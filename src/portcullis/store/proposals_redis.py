"""What models proposed, at gateways of any host: tags of it only; see ``store.proposals``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from portcullis.core.principal import Proposal
from portcullis.store.proposals import tag
from portcullis.store.redis_script import Script
from portcullis.store.shared_server import KEPT, Away, Server, unusable

MOST: Final = 64
"""Of each key; the oldest go first."""
_WHAT: Final = "what models proposed cannot be read or written"
_TAG: Final = 32
_ADD: Final = Script("""
for i = 2, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('LTRIM', KEYS[1], -64, -1)
return redis.call('EXPIRE', KEYS[1], ARGV[1])
""")
_TAKE: Final = Script("""
for _, row in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  for i = 1, #ARGV do
    if string.sub(row, 1, 32) == ARGV[i] then
      redis.call('LREM', KEYS[1], 1, row)
      return row
    end
  end
end
return false
""")
_FORGET: Final = Script("return redis.call('DEL', KEYS[1])")


class RedisProposals:
    """Implements ``store.proposals.Proposals`` for all processes with the same server and key."""

    def __init__(self, server: Server, key: bytes) -> None:
        self._server = server
        self._key = key

    async def add(self, key: str, proposals: Sequence[Proposal]) -> None:
        """Remember what a model proposed under ``key``."""
        rows = [
            tag(self._key, one.name, one.digest) + one.event.encode() for one in proposals[-MOST:]
        ]
        await self._ask(_ADD, key, KEPT, *rows)

    async def take(self, key: str, names: Collection[str], digest: str) -> str | None:
        """The event of the oldest proposal of this call under ``key``, which is consumed."""
        found = await self._ask(_TAKE, key, *(tag(self._key, name, digest) for name in names))
        return None if found is None else found[_TAG:].decode()

    async def forget(self, key: str) -> None:
        """Remember nothing under ``key`` any more."""
        await self._ask(_FORGET, key)

    async def _ask(self, script: Script, key: str, *arguments: Any) -> Any:
        try:
            return await self._server.ask(
                script, [self._server.of("proposals", key) + key], *arguments
            )
        except Away:
            raise unusable(_WHAT) from None
