"""A tenant's users in Valkey or Redis: one for each use, with what it needs and no more."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from redis.exceptions import ResponseError

from portcullis.core.errors import Problem
from portcullis.store.redis_acl import USES, Use
from portcullis.store.redis_address import FAULTS, connected, parsed

_KEPT: Final[tuple[str, ...]] = ("ca", "plaintext", "db")
"""What of an address says the way to a server. A certificate (``cert``, ``key``) is the
administrator's."""
_FORGETS: Final = "Redis has no aclfile: it forgets these users when it starts again"
LETS_IN: Final = "Redis lets everybody in as the user default, without a password"
_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class TenantUser:
    """A user of a tenant's for one ``use``. ``url`` holds the password, ``rules`` its SHA-256."""

    name: str
    use: Use
    url: str
    rules: str


def users_of(tenant: str, domain: str, admin: str) -> tuple[TenantUser, ...]:
    """The users that a tenant needs at the server of an administrator's address.

    Raises Problem PC7085 for an address that is not good.
    """
    address, parts = parsed(admin), urlsplit(admin.strip())
    given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    query = urlencode({name: given[name] for name in _KEPT if name in given})
    hosts = parts.netloc.rpartition("@")[2]
    more = (" +select" if address.db else "") + (
        " +cluster|slots +command" if address.kind == "cluster" else ""
    )
    found = []
    for use in USES:
        name, password = f"portcullis-{tenant}-{use.name}", secrets.token_urlsafe(32)
        netloc = f"{name}:{password}@{hosts}"
        url = urlunsplit((parts.scheme, netloc, parts.path, query, ""))
        digest = hashlib.sha256(password.encode()).hexdigest()
        found.append(TenantUser(name, use, url, f"on #{digest} {use.rule(domain)}{more}"))
    return tuple(found)


def make(users: tuple[TenantUser, ...], admin: str) -> list[str]:
    """Make them as the administrator; what is left to do, in words.

    Raises Problem PC7094 where there is such a user already, or more than one server.
    """
    address = parsed(admin)
    if address.kind != "server":
        hint = "Use --by-hand, and give the lines to each server: Redis does not pass users on."
        raise Problem("PC7094", "there is more than one server of Redis", hint=hint)

    made: list[str] = []

    async def ask() -> list[str]:
        client: Any = connected(address, seconds=_SECONDS, decode=True)
        try:
            for one in users:
                if await client.execute_command("ACL GETUSER", one.name) is not None:
                    raise Problem("PC7094", f"Redis has a user {one.name} already")
            for one in users:
                rules = one.rules.split(" ")
                await client.execute_command("ACL SETUSER", one.name, "reset", *rules)
                made.append(one.name)
            left = []
            everybody = await client.execute_command("ACL GETUSER", "default")
            if {"on", "nopass"} <= set(everybody["flags"]):
                left.append(f"{LETS_IN}: give it one (requirepass)")
            try:
                await client.execute_command("ACL SAVE")
            except ResponseError:
                left.append(_FORGETS)
            return left
        finally:
            await client.aclose()

    try:
        return asyncio.run(ask())
    except FAULTS as error:
        left = f"; left: {', '.join(made)}" if made else ""
        detail = f"Redis at {address.where}: {type(error).__name__}{left}"
        raise Problem("PC7094", detail, hint="See to it, or use --by-hand.") from None


def gone(tenant: str) -> str:
    """What takes them all away again."""
    return "ACL DELUSER " + " ".join(f"portcullis-{tenant}-{use.name}" for use in USES)
