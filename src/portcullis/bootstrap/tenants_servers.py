"""Whether tenants are apart at the servers that they share: each is asked with its own rights."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from secrets import token_urlsafe
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as Late
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from portcullis.bootstrap.tenants_apart import Apart, Looked, reachable, shared
from portcullis.bootstrap.tenants_database import closing
from portcullis.bootstrap.tenants_redis import LETS_IN
from portcullis.bootstrap.tenants_running import environment
from portcullis.core.errors import Problem
from portcullis.execution.secrets import local_secrets
from portcullis.store import postgresql
from portcullis.store.redis_acl import COUNTERS, FEED, SHARED, USES, Use
from portcullis.store.redis_address import FAULTS, Address, one_node, parsed

_SECONDS: Final = 3.0
_OWN: Final = """
SELECT pg_postmaster_start_time()::text AS server, current_database() AS database,
       rolname AS role, rolconnlimit AS connections,
       current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int AS room,
       rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
         OR EXISTS (SELECT FROM pg_auth_members WHERE member = own.oid) AS more,
       ARRAY(SELECT datname::text FROM pg_database
             WHERE datallowconn AND datname <> current_database()
               AND has_database_privilege(oid, 'CONNECT') ORDER BY datname) AS elsewhere,
       ARRAY(SELECT rolname::text FROM pg_roles
             WHERE rolcanlogin AND NOT rolsuper AND oid <> own.oid
               AND has_database_privilege(oid, current_database(), 'CONNECT')
             ORDER BY rolname) AS guests
FROM pg_roles AS own WHERE rolname = current_user
"""


class _Said(NamedTuple):
    """What a server says of a tenant's database and role.

    ``connections`` is how many the role may have (-1: no bound) of the ``room`` for all; ``more``,
    whether it may more than log in; ``elsewhere`` are the other databases that it may connect to,
    and ``guests`` the other roles that may connect to this one.
    """

    server: str
    database: str
    role: str
    connections: int
    room: int
    more: bool
    elsewhere: tuple[str, ...]
    guests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _There:
    """A tenant, its address, and what the server there says."""

    one: Looked
    url: URL
    said: _Said


def at_servers(
    all_of_them: Sequence[Looked], resolve: Callable[[Looked, str], str]
) -> Iterator[Apart]:
    """What a tenant's role or user can do with what is another's. ``resolve`` reads references.

    Each goes to its own server with its own credentials, and nobody's go anywhere else. What
    cannot be tried is found too: it is not known to be apart.
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
            there.append(_There(one, url, _asked(url)))
        except (Problem, SQLAlchemyError, ValueError) as error:
            said = error.detail if isinstance(error, Problem) else type(error).__name__
            yield reachable(f"its database could not be looked at: {said}", one.name)
    for own in there:
        yield from _role(own, there)
    for first, second in combinations(there, 2):
        yield from _same(first, second)
    for server in sorted({own.said.server for own in there}):
        yield from _crowded([own for own in there if own.said.server == server])


def _role(own: _There, there: Sequence[_There]) -> Iterator[Apart]:
    """What a role may, and who may come to its database, as the server has it.

    Only the owner's credentials are used, at the owner's address: where another's would be shown,
    a tenant could name a server of its own and keep them.
    """
    said, name = own.said, own.one.name
    others = [one for one in there if one.said.server == said.server and one is not own]
    whose = {one.said.role: one.one.name for one in others}
    if said.more:
        found = f"the role {said.role} may more than log in, or is a member of another"
        yield reachable(found, name)
    for role in said.guests:
        found = f"the role {role} may connect to the database {said.database}"
        yield reachable(found, *(whose[one] for one in (role,) if one in whose), name)
    theirs = {one.said.database for one in others}
    if elsewhere := [one for one in said.elsewhere if one not in theirs]:
        found = f"the role {said.role} may connect to more than its own; {closing(elsewhere)}"
        yield reachable(found, name)
    if "sslcert" not in own.url.query and _lets_in(own.url.set(password=token_urlsafe())):
        yield reachable(f"PostgreSQL lets the role {said.role} in with any password", name)


def _crowded(there: Sequence[_There]) -> Iterator[Apart]:
    """Whether some can take the connections of one server from the others."""
    most = [own.said.connections for own in there]
    room = min(own.said.room for own in there)
    if len(there) > 1 and (min(most) < 0 or sum(most) > room):
        found = f"the {room} connections of PostgreSQL, of which their roles may have more together"
        names = tuple(own.one.name for own in there)
        yield Apart("PC7095", names, found, "ALTER ROLE ... CONNECTION LIMIT, or max_connections.")


def _same(first: _There, second: _There) -> Iterator[Apart]:
    """What two have together at one server, and a password at any."""
    if first.url.password is not None and first.url.password == second.url.password:
        yield shared(first.one, second.one, "the password of their roles in PostgreSQL")
    if first.said.server != second.said.server:
        return
    if first.said.database == second.said.database:
        yield shared(first.one, second.one, f"the database {first.said.database}")
    if first.said.role == second.said.role:
        yield shared(first.one, second.one, f"the role {first.said.role}")


def _asked(url: URL) -> _Said:
    """What the server says to a role. Raises Problem, SQLAlchemyError."""
    engine = postgresql.connect(url.render_as_string(hide_password=False), pool=1)
    try:
        with engine.connect() as connection:
            return _Said(*connection.exec_driver_sql(_OWN).one())
    finally:
        engine.dispose()


def _lets_in(url: URL) -> bool:
    """Whether it is let in; the server answered a moment ago."""
    try:
        _asked(url)
    except SQLAlchemyError:
        return False
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
                found += [reachable(what, one.name) for what in await _unasked(one, use, address)]
            except FAULTS as error:
                what = f"its users in Redis could not be looked at: {type(error).__name__}"
                found.append(reachable(what, one.name))
    return list(dict.fromkeys(found))


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
        if not await _may(client, *_own(one, use)):
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


async def _unasked(one: Looked, use: Use, address: Address) -> list[str]:
    """Who is let in without being asked who he is."""
    user = address.user or "default"
    nobody = replace(address, user=None, password=None)
    wrong = replace(address, user=user, password=token_urlsafe())
    return [
        found
        for who, found in (
            (nobody, LETS_IN),
            (wrong, f"Redis lets the user {user} in with any password"),
        )
        if await _let_in(who, _own(one, use))
    ]


async def _let_in(address: Address, own: tuple[str, ...]) -> bool:
    client: Any = one_node(address, 0, seconds=_SECONDS)
    try:
        return await _may(client, "PING") or await _may(client, *own)
    except NotConnected as error:  # what went wrong while it was connecting is behind it
        if isinstance(error, AuthenticationError) or isinstance(
            error.__cause__ or error.__context__, AuthenticationError
        ):
            return False
        raise
    finally:
        await client.aclose()


_ALL: Final = {
    "SCAN": ("SCAN", "0"),
    "ACL": ("ACL", "LIST"),
    "CONFIG": ("CONFIG", "GET", "port"),
    "CLIENT": ("CLIENT", "LIST"),
    "PUBSUB": ("PUBSUB", "CHANNELS"),
}


def _own(one: Looked, use: Use) -> tuple[str, ...]:
    """What its user may, and no other."""
    return ("PING",) if use is FEED else ("GET", _key(use, one.config.trust_domain))


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
