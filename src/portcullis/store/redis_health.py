"""Whether a server of Valkey's or Redis's is fit for what lies there."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoPermissionError, ResponseError

from portcullis.store.redis_address import Client

KEEPS: Final = "noeviction"
OLDEST: Final = (7, 0)
"""Of Redis; Valkey says the Redis that it is compatible with."""


async def facts(client: Client) -> list[dict[str, Any]]:
    """What each primary says of itself: one, or those of a cluster. Raises ``RedisError``."""
    sections = ("server", "persistence", "memory", "replication")
    if isinstance(client, RedisCluster):
        await client.initialize()
        return [
            {k: v for one in sections for k, v in (await _told(node, one)).items()}
            for node in client.get_primaries()
        ]
    return [{k: v for one in sections for k, v in (await client.info(one)).items()}]


async def _told(node: Any, section: str) -> dict[str, Any]:
    found = await node.execute_command("INFO", section)
    return dict(found)


async def forgets(client: Client) -> str:
    """Why a server may forget what was counted, in words; empty where it keeps it.

    A snapshot now and then is taken for keeping it. Raises ``RedisError``.
    """
    for one in await facts(client):
        if not one.get("aof_enabled") and await _snapshots(client) == "":
            return "it writes nothing to its disk"
        if said := _evicts(one):
            return said
    return ""


async def unfit(client: Client) -> str:
    """Why nothing can be shared at a server, in words. Raises ``RedisError``."""
    return next(filter(None, (_old(one) or _evicts(one) for one in await facts(client))), "")


def _evicts(one: dict[str, Any]) -> str:
    policy = one.get("maxmemory_policy", KEEPS)
    if one.get("maxmemory") and policy != KEEPS:
        return f"it forgets what it has when its memory is full ({policy})"
    return ""


def _old(one: dict[str, Any]) -> str:
    version = str(one.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return "" if numbers >= OLDEST else f"it is Redis {version}: 7.0 or newer is needed, or Valkey"


async def _snapshots(client: Client) -> str | None:
    """When it takes snapshots; None where it does not tell."""
    try:
        if isinstance(client, Redis):
            found = await client.config_get("save")
        else:
            found = await client.get_random_node().execute_command("CONFIG", "GET", "save")
    except (NoPermissionError, ResponseError):
        return None
    return str(dict(found).get("save", ""))
