"""A script of Valkey's or Redis's: one atomic step of the server, named by its digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import NoScriptError

from portcullis.store.redis_address import Client

SKEW: Final = 5.0
"""Seconds by which a gateway's clock may differ from the server's: windows and leases bear it."""
ANY_SKEW: Final = 1e300
"""For a clock that is not held to the server's."""
_OFF: Final = re.compile(r"CLOCK (-?\d+)")
_CLOCK: Final = """
local told = redis.call('INFO', 'server')
local own = tonumber(string.match(told, 'server_time_usec:(%d+)')) / 1000000
local now = tonumber(ARGV[1])
local off = now - own
local wrong = math.abs(off) > tonumber(ARGV[#ARGV])
if wrong then now = own end
"""
REFUSE: Final = """
if wrong then return redis.error_reply(string.format('CLOCK %.0f', off)) end
"""
"""What a timed script says first that does nothing by a wrong clock; see ``ahead``."""


class Script:
    """Its source goes to the server where that does not know it, after a restart of it too.

    All of its keys have one hash tag: they lie in one slot of a cluster. Raises ``RedisError``.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Client, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """What it returns."""
        given = (len(keys), *keys, *arguments)
        try:
            return await client.evalsha(self._digest, *given)
        except NoScriptError:
            return await client.eval(self._source, *given)

    async def held(
        self,
        client: Client,
        keys: Sequence[str],
        arguments: Sequence[Any],
        replicas: int,
        milliseconds: int,
    ) -> Any:
        """The same, once so many replicas have what it wrote.

        Raises ``ConnectionError`` when they do not in time: then the primary has it, and it may
        be lost.
        """
        if isinstance(client, RedisCluster):
            raise NotConnected("nothing waits for the replicas of a cluster")
        try:
            said, copies = await self._waited(
                client, ("EVALSHA", self._digest, len(keys), *keys, *arguments),
                replicas, milliseconds,
            )  # fmt: skip
        except NoScriptError:
            said, copies = await self._waited(
                client, ("EVAL", self._source, len(keys), *keys, *arguments),
                replicas, milliseconds,
            )  # fmt: skip
        if copies < replicas:
            raise NotConnected("too few replicas have it")
        return said

    @staticmethod
    async def _waited(
        client: Redis, command: Sequence[Any], replicas: int, milliseconds: int
    ) -> tuple[Any, int]:
        """On one connection: the server waits for what was written on it."""
        async with client.pipeline(transaction=False) as asking:
            asking.execute_command(*command)
            asking.execute_command("WAIT", replicas, milliseconds)
            said, copies = await asking.execute()
        return said, int(copies)


class Timed(Script):
    """One that goes by time. ARGV: the caller's time first, last by how much it may be wrong.

    In it, ``told`` is what the server says of itself, ``wrong`` whether the caller's clock differs
    from the server's by more than that, and ``now`` the caller's time, or then the server's own:
    what one gateway ends or forgets too early, all have lost.
    """

    def __init__(self, source: str) -> None:
        super().__init__(_CLOCK + source)


def ahead(fault: BaseException) -> int | None:
    """Whole seconds by which a server found the caller's clock ahead, and refused for that."""
    found = _OFF.search(str(fault))
    return int(found[1]) if found else None
