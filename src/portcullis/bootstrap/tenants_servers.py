"""Whether tenants are apart at the servers that they share: each is tried with another's rights."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import NoPermissionError, RedisError
from redis.exceptions import TimeoutError as Late
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from portcullis.bootstrap.tenants_apart import Apart, Looked, reachable, shared
from portcullis.bootstrap.tenants_running import environment
from portcullis.core.errors import Problem
from portcullis.execution.secrets import local_secrets
from portcullis.store import postgresql
from portcullis.store.redis_acl import COUNTERS, FEED, SHARED, USES, Use
from portcullis.store.redis_address import FAULTS, Address, one_node, parsed

_SECONDS: Final = 3.0
_OWN: Final = """
SELECT pg_postmaster_start_time()::text, current_database(), current_user,
       rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
         OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
FROM pg_roles WHERE rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class _There:
    """A tenant's database, and what it says of the role."""

    one: Looked
    url: URL
    server: str
    database: str
    role: str
    more: bool


def at_servers(
    all_of_them: Sequence[Looked], resolve: Callable[[Looked, str], str]
) -> Iterator[Apart]:
    """What a tenant's role or user can do with what is another's. ``resolve`` reads references.

    What cannot be tried is found too: it is not known to be apart.
    """
    yield from _databases(all_of_them, resolve)
    yield from asyncio.run(_redis(all_of_them, resolve))


def references(one: Looked, reference: str) -> str:
    """What a reference of a tenant's stands for, in its own environment. Raises Problem."""
    return local_secrets(environment(one.tenant, os.environ)).resolve(reference).reveal().strip()


def _databases(
    all_of_them: Sequence[Looked], resolve: Callable[[Looked, str], str]
) -> Iterator[Apart]:
    there = []
    for one in all_of_them:
        if one.config.store.url is None:
            continue
        try:
            url = make_url(resolve(one, one.config.store.url))
            there.append(_There(one, url, *_asked(url)))
        except (Problem, SQLAlchemyError, ValueError) as error:
            said = error.detail if isinstance(error, Problem) else type(error).__name__
            yield reachable(f"its database could not be looked at: {said}", one.name)
    for own in there:
        if own.more:
            found = f"the role {own.role} may more than log in, or is a member of another"
            yield reachable(found, own.one.name)
    for first, second in combinations(there, 2):
        yield from _same(first, second)
    for own, other in permutations(there, 2):
        if _lets_in(own.url, other.url):
            found = f"the role {own.role} may connect to the database {other.database}"
            yield reachable(found, own.one.name, other.one.name)


def _same(first: _There, second: _There) -> Iterator[Apart]:
    """What two have together at one server."""
    if first.server != second.server:
        return
    if first.database == second.database:
        yield shared(first.one, second.one, f"the database {first.database}")
    if first.role == second.role:
        yield shared(first.one, second.one, f"the role {first.role}")


def _asked(url: URL) -> tuple[str, str, str, bool]:
    """What the server says to a role. Raises Problem, SQLAlchemyError."""
    engine = postgresql.connect(url.render_as_string(hide_password=False), pool=1)
    try:
        with engine.connect() as connection:
            start, database, role, more = connection.exec_driver_sql(_OWN).one()
            return str(start), str(database), str(role), bool(more)
    finally:
        engine.dispose()


def _lets_in(own: URL, other: URL) -> bool:
    """Whether the credentials of one open the database of another."""
    try:
        _asked(other.set(username=own.username, password=own.password))
    except SQLAlchemyError:
        return False  # both servers answered a moment ago, to those whose databases they have
    return True


async def _redis(
    all_of_them: Sequence[Looked], resolve: Callable[[Looked, str], str]
) -> list[Apart]:
    found: list[Apart] = []
    seen: dict[tuple[str, str | None], Looked] = {}
    for one in all_of_them:
        for use, reference in _used(one):
            try:
                address = parsed(resolve(one, reference))
            except Problem as problem:
                what = f"its users in Redis could not be looked at: {problem.detail}"
                found.append(reachable(what, one.name))
                continue
            known = seen.setdefault((address.where, address.user), one)
            if known.name != one.name:
                found.append(shared(known, one, f"the user {address.user or 'default'} in Redis"))
            try:
                found += await _tried(one, use, address, all_of_them)
            except FAULTS as error:
                what = f"its users in Redis could not be looked at: {type(error).__name__}"
                found.append(reachable(what, one.name))
    return found


def _used(one: Looked) -> Iterator[tuple[Use, str]]:
    config = one.config
    named = ((COUNTERS, config.counters.url), (FEED, config.feed.url), (SHARED, config.shared.url))
    for use, reference in named:
        if reference is not None:
            yield use, reference


async def _tried(
    one: Looked, use: Use, address: Address, all_of_them: Sequence[Looked]
) -> list[Apart]:
    """What a user can do with others' keys and channels, and with the server."""
    client: Any = one_node(address, 0, seconds=_SECONDS)
    found = []
    try:
        own = ("PING",) if use is FEED else ("GET", _key(use, one.config.trust_domain))
        if not await _may(client, *own):
            found.append(reachable("a user in Redis could not be tried: it may nothing", one.name))
        user = address.user or "default"
        if told := [name for name, words in _ALL.items() if await _may(client, *words)]:
            what = f"the user {user} may {', '.join(told)} in Redis: names of all tenants"
            found.append(reachable(what, one.name))
        for other in all_of_them:
            if other.name == one.name:
                continue
            domain = other.config.trust_domain
            keys = [_key(of, domain) for of in USES if of.keys]
            asked: list[tuple[str, ...]] = [("GET", key) for key in keys]
            asked += [("DEL", key) for key in keys]
            asked += [("EVAL", "return 1", "1", key) for key in keys]
            channel = FEED.channels.format(domain=domain).replace("*", "probe")
            asked.append(("PUBLISH", channel, ""))
            can = [words[0] for words in asked if await _may(client, *words)]
            if await _hears(client, channel):
                can.append("SUBSCRIBE")
            if can:
                what = f"the user {user} may {', '.join(dict.fromkeys(can))} in Redis"
                found.append(reachable(f"{what} what is {domain}'s", one.name, other.name))
    finally:
        await client.aclose()
    return found


_ALL: Final = {
    "SCAN": ("SCAN", "0"),
    "ACL": ("ACL", "LIST"),
    "CONFIG": ("CONFIG", "GET", "port"),
    "CLIENT": ("CLIENT", "LIST"),
    "PUBSUB": ("PUBSUB", "CHANNELS"),
}


def _key(use: Use, domain: str) -> str:
    """One that the deployment never has."""
    stem = use.pattern(domain).removesuffix("*")
    return stem + ("probe" if stem.endswith(":") else "probe}:probe")


async def _may(client: Redis, *words: str) -> bool:
    """Whether a command is let through, whatever came of it."""
    try:
        await client.execute_command(*words)  # type: ignore[no-untyped-call] # redis-py says nothing
    except NoPermissionError:
        return False
    except (NotConnected, Late):
        raise
    except RedisError:  # such as where in a cluster it is
        return True
    return True


async def _hears(client: Redis, channel: str) -> bool:
    pubsub = client.pubsub()
    try:
        await pubsub.subscribe(channel)
        return await pubsub.get_message(timeout=_SECONDS) is not None
    except NoPermissionError:
        return False
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py says nothing
