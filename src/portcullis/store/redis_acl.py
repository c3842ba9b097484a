"""What a user of Valkey's or Redis's needs for each of the gate's uses, and no more.

docs/redis.md says the same, and a test holds it to this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from portcullis.store.redis_address import Client
from portcullis.store.redis_script import Script


@dataclass(frozen=True, slots=True)
class Use:
    """What the gate does there: with which keys and channels of a deployment, by which commands."""

    name: str
    keys: str
    channels: str
    commands: tuple[str, ...]

    def rule(self, domain: str) -> str:
        """The user's rules, for ``ACL SETUSER`` or a line of the ACL file."""
        keys = f" ~{self.pattern(domain)}" if self.keys else ""
        channels = f" &{self.channels.format(domain=domain)}" if self.channels else ""
        commands = " ".join(f"+{one}" for one in ("hello", *self.commands))
        return f"resetkeys{keys} resetchannels{channels} -@all {commands}"

    def pattern(self, domain: str) -> str:
        """Which keys: a brace is a character of their names."""
        return self.keys.replace("DOMAIN", domain)


COUNTERS: Final = Use(
    "counters",
    "portcullis:{DOMAIN}:limits:*",
    "",
    (
        *("eval", "evalsha", "info", "wait", "get", "set", "del", "exists", "expire", "pexpireat"),
        *("hmget", "hset", "zadd", "zcard", "zrange", "zrangebylex", "zrangebyscore", "zrem"),
        "zremrangebyscore",
    ),
)
SHARED: Final = Use(
    "shared",
    "portcullis:{DOMAIN/*",
    "",
    (
        *("eval", "evalsha", "info", "get", "set", "del", "expire", "ttl"),
        *("hget", "hincrby", "hkeys", "hmget", "hset", "sadd", "smembers", "srem"),
        *("llen", "lrange", "lrem", "ltrim", "rpush", "zadd", "zcard", "zrangebyscore", "zrem"),
    ),
)
FEED: Final = Use(
    "feed",
    "",
    "portcullis:{domain}:feed:*",
    ("publish", "subscribe", "unsubscribe", "ping"),
)
USES: Final = (COUNTERS, FEED, SHARED)

_UNASKED: Final = frozenset({"eval", "evalsha", "wait"})
"""What asks is one of them; ``wait`` is for those who have replicas."""
_LACKING: Final = Script("""
local lacking = {}
for _, name in ipairs(ARGV) do
  local may
  if name == 'info' then may = redis.acl_check_cmd(name)
  elseif name == 'del' or name == 'exists' then may = redis.acl_check_cmd(name, KEYS[1])
  else may = redis.acl_check_cmd(name, KEYS[1], '1', '1', '1') end
  if not may then lacking[#lacking + 1] = name end
end
return lacking
""")


async def lacking(client: Client, use: Use, domain: str) -> list[str]:
    """Which commands its user may not give to these keys, or channels. Raises ``RedisError``."""
    if use is FEED:
        return await _unheard(client, use, domain)
    key = use.pattern(domain).removesuffix("*")
    key += "probe" if key.endswith(":") else "probe}:probe"
    asked = [one for one in use.commands if one not in _UNASKED]
    try:
        found = await _LACKING.run(client, [key], asked)
    except NoPermissionError:
        return ["eval", "evalsha"]
    return [one if isinstance(one, str) else one.decode() for one in found]


async def _unheard(client: Client, use: Use, domain: str) -> list[str]:
    """What a message to nobody needs."""
    channel = use.channels.format(domain=domain).removesuffix("*") + "probe"
    if not isinstance(client, Redis):
        return []
    lacks = []
    try:
        await client.publish(channel, b"")
    except NoPermissionError:
        lacks.append("publish")
    pubsub = client.pubsub()
    try:
        await pubsub.subscribe(channel)
        answer = await pubsub.get_message(timeout=1.0)
        if answer is None:
            lacks.append("subscribe")
    except NoPermissionError:
        lacks.append("subscribe")
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py says nothing
    return lacks
