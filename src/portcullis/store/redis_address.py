"""The addresses of Valkey and Redis, for counters, feed and shared state: one server, or several.

``redis://`` and ``rediss://`` (TLS), ``redis+sentinel://`` and ``rediss+sentinel://`` with the
Sentinels' hosts and the name of what they watch as path, ``redis+cluster://`` and
``rediss+cluster://`` with some of the nodes, ``unix://``. See docs/redis.md.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisClusterException, RedisError

from portcullis.core.errors import Problem

_KINDS: Final[Mapping[str, Literal["server", "sentinel", "cluster"]]] = {
    "": "server",
    "sentinel": "sentinel",
    "cluster": "cluster",
}
_PORTS: Final = {"server": 6379, "sentinel": 26379, "cluster": 6379}
_FILES: Final = ("ca", "cert", "key")
_KNOWN: Final = frozenset(
    {*_FILES, "plaintext", "db", "replicas", "sentinel_user", "sentinel_password"}
)

_CONNECTIONS: Final = 1000
"""More than calls in flight: one more would be a fault."""

Client: TypeAlias = Redis | RedisCluster
FAULTS: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What it is for redis-py that a server is away, or refuses."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how it is spoken to. Passwords are in it: show ``where`` only.

    ``service`` is what Sentinels call the primary. ``replicas`` have to hold a reservation before
    it counts (0: the primary alone does). ``ca``, ``cert`` and ``key`` are files in PEM.
    """

    kind: Literal["server", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    user: str | None = None
    password: str | None = None
    sentinel_user: str | None = None
    sentinel_password: str | None = None
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    plaintext: bool = False
    replicas: int = 0

    @property
    def where(self) -> str:
        """The hosts, for people."""
        return self.path or ", ".join(f"{host}:{port}" for host, port in self.hosts)

    def trusts(self, host: str) -> bool:
        """Whether what goes to a host cannot be read on the way, or that is allowed."""
        return self.tls or self.plaintext or bool(self.path) or _loopback(host)

    def secured(self) -> dict[str, Any]:
        """What redis-py is told of TLS: always 1.2 or newer, verified, with the host's name."""
        if not self.tls:
            return {}
        return {
            "ssl": True,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": self.ca,
            "ssl_certfile": self.cert,
            "ssl_keyfile": self.key,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        }


def parsed(url: str) -> Address:
    """What an address says. Raises Problem PC7085, in which no secret stands."""
    try:
        parts = urlsplit(url.strip())
        options = {
            name: values[-1]
            for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()
        }
    except ValueError:
        _refuse("it cannot be read as a URL")
    common = _common_options(parts.netloc, options)
    if parts.scheme == "unix":
        return Address("server", path=unquote(parts.path), **common)
    scheme, _, how = parts.scheme.partition("+")
    if scheme not in {"redis", "rediss"} or how not in _KINDS:
        _refuse(
            "it begins with redis://, rediss://, redis+sentinel://, redis+cluster:// or unix://"
        )
    kind = _KINDS[how]
    hosts = _hosts(parts.netloc.rpartition("@")[2], _PORTS[kind])
    rest = unquote(parts.path.strip("/"))
    if kind == "sentinel":
        if not rest:
            _refuse("after the Sentinels comes the name of what they watch: .../NAME")
        common["service"] = rest
    elif rest:
        common["db"] = _number(rest, "db")
    if kind == "cluster" and (common["db"] or common["replicas"]):
        _refuse("a cluster has no numbered databases, and its reservations wait for no replicas")
    found = Address(kind, hosts, tls=scheme == "rediss", **_files(options, scheme), **common)
    for host, _ in hosts:
        if not found.trusts(host):
            _refuse(f"passwords and state would go to {host} in clear: use {scheme}s")
    return found


def _common_options(netloc: str, options: Mapping[str, str]) -> dict[str, Any]:
    unknown = sorted(options.keys() - _KNOWN)
    if unknown:
        _refuse(f"it has an option that there is not; there are {', '.join(sorted(_KNOWN))}")
    if options.get("plaintext", "allowed") != "allowed":
        _refuse("plaintext can be `allowed` or left out")
    given, at, _ = netloc.rpartition("@")
    user, colon, password = given.partition(":")
    return {
        "user": unquote(user) or None,
        "password": unquote(password) if at and colon else None,
        "db": _number(options.get("db", "0"), "db"),
        "replicas": _number(options.get("replicas", "0"), "replicas"),
        "sentinel_user": options.get("sentinel_user"),
        "sentinel_password": options.get("sentinel_password"),
        "plaintext": "plaintext" in options,
    }


def _files(options: Mapping[str, str], scheme: str) -> dict[str, Any]:
    files: dict[str, Any] = {name: options[name] for name in _FILES if name in options}
    for name, file in files.items():
        if scheme == "redis" or not Path(file).is_file():
            _refuse(f"{name} names a file of this machine, for rediss://")
    if len(files.keys() & {"cert", "key"}) == 1:
        _refuse("cert and key go together")
    return files


def connected(address: Address, *, seconds: float, decode: bool = False) -> Client:
    """A client of it, which connects when it is used; ``seconds`` bound each wait for the server.

    A connection that was lost is made anew, once, for the command that finds it so. Use it from
    one event loop and close it there.
    """
    common = _common(address, seconds, decode=decode)
    if address.kind == "cluster":
        found = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            address_remap=_checked(address),
            **common,
            **address.secured(),
        )
        if address.ca is not None:
            found.connection_kwargs["connection_class"] = _Verifying
            for node in found.nodes_manager.startup_nodes.values():
                node.connection_class = _Verifying
        return found
    if address.kind == "sentinel":
        return _watched(address, seconds, common)
    return _server(address, 0, common)


def one_node(address: Address, turn: int, *, seconds: float) -> Redis:
    """A client for messages, which any node of a cluster takes to all; ``turn`` picks the node."""
    common = _common(address, seconds, decode=False)
    common |= {"protocol": 2, "retry": Retry(NoBackoff(), 0)}
    if address.kind == "sentinel":
        return _watched(address, seconds, common)
    return _server(address, turn, common)


def _server(address: Address, turn: int, common: dict[str, Any]) -> Redis:
    if address.path:
        return Redis(unix_socket_path=address.path, db=address.db, **common)
    host, port = address.hosts[turn % len(address.hosts)]
    found = Redis(host=host, port=port, db=address.db, **common, **address.secured())
    if address.ca is not None:
        found.connection_pool.connection_class = _Verifying
    return found


def _watched(address: Address, seconds: float, common: dict[str, Any]) -> Redis:
    own = {
        "username": address.sentinel_user,
        "password": address.sentinel_password,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        **address.secured(),
    }
    sentinels = Sentinel(list(address.hosts), sentinel_kwargs=own)  # type: ignore[no-untyped-call]
    more: dict[str, Any]
    if address.tls:
        more = address.secured()
    else:
        more = {"connection_class": type("Checked", (_Checked,), {"address": address})}
    found: Redis = sentinels.master_for(address.service, db=address.db, **common, **more)
    if address.ca is not None:
        found.connection_pool.connection_class = _VerifyingWatched
        for sentinel in sentinels.sentinels:
            sentinel.connection_pool.connection_class = _Verifying
    return found


class _Verifying(SSLConnection):
    """Trusts the authorities of ``ca`` alone: redis-py would trust the machine's beside them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = self.ssl_context
        context = ssl.create_default_context(cafile=given.ca_certs)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if given.certfile:
            context.load_cert_chain(given.certfile, given.keyfile)
        given.context = context


class _VerifyingWatched(SentinelManagedConnection, _Verifying):
    """The same of what a Sentinel names."""


class _Checked(SentinelManagedConnection):
    """Does not follow a Sentinel to another host in clear."""

    address: Address

    async def connect_to(self, address: tuple[str, int]) -> None:
        if not self.address.trusts(str(address[0])):
            raise NotConnected("the primary is on another host, and would be spoken to in clear")
        await super().connect_to(address)  # type: ignore[no-untyped-call] # redis-py says nothing


def _checked(address: Address) -> Any:
    """Does not follow a cluster to another host in clear."""

    def checked(node: tuple[str, int]) -> tuple[str, int]:
        if not address.trusts(str(node[0])):
            raise NotConnected("a node is on another host, and would be spoken to in clear")
        return node

    return checked


def _common(address: Address, seconds: float, *, decode: bool) -> dict[str, Any]:
    return {
        "username": address.user,
        "password": address.password,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 1),  # a connection of the pool may have gone meanwhile
        "decode_responses": decode,
        "driver_info": None,
        "max_connections": _CONNECTIONS,
    }


def _hosts(netloc: str, port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for one in netloc.split(","):
        try:
            parts = urlsplit(f"//{one}")
            found.append((parts.hostname or "", parts.port or port))
        except ValueError:
            _refuse("a port is no number")
    if not all(host for host, _ in found):
        _refuse("a host is missing")
    return tuple(found)


def _number(given: str, name: str) -> int:
    if not (given.isdecimal() and len(given) < 4):  # noqa: PLR2004 - nobody has a thousand
        _refuse(f"{name} is a number")
    return int(given)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"


def _refuse(why: str) -> NoReturn:
    raise Problem("PC7085", f"the address of Valkey or Redis is not good: {why}")
