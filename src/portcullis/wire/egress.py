"""Where egress goes to, as a client of a proxy writes it (RFC 9110 section 7, RFC 9112 section 3).

A destination is a DNS name. Every notation of an address is refused, also those that only some
parsers take for one (``0x7f.1``, ``2130706433``, ``[::ffff:7f00:1]``): a name whose last label is
a number is none (URL Standard, "ends in a number").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from portcullis.core.egress import Destination, Way
from portcullis.core.errors import Problem

Headers: TypeAlias = Sequence[tuple[str, str]]

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_LONGEST: Final = 253
_AUTHORITY: Final = re.compile(r"([^:@/?#\[\]]{1,254})(?::([0-9]{1,5}))?")
_TARGET: Final = re.compile(r"/[!-~]*")
METHODS: Final = frozenset(
    {
        *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "SEARCH", "REPORT"),
        *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"),
    }
)
"""The methods that go through (IANA's registry); any other word could be content in the record."""
WEBSOCKET: Final = "WEBSOCKET"
"""In place of GET, in policy and on record: the request that opens one (RFC 6455)."""
_MIXED: Final = re.compile(
    r"%(?:2[ef]|5c|00|3b|25[0-9a-f]{2}|c[01]|e0%[89])|\\|//|;", re.IGNORECASE
)
"""What servers read in more than one way when they take a path apart.

``%25`` before two digits is what some decode twice, and the last two are no UTF-8 (RFC 3629).
"""
HTTP: Final = 80
HTTPS: Final = 443
_HOPS: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"),
    }
)
"""Headers that are for the next hop alone (RFC 9110 section 7.6.1)."""
_OVERRIDING: Final = frozenset(
    {
        *("x-http-method-override", "x-http-method", "x-method-override"),
        *("x-original-url", "x-original-uri", "x-rewrite-url", "x-override-url"),
        *("x-forwarded-host", "x-forwarded-prefix", "x-forwarded-uri", "x-forwarded-path"),
        *("x-host", "x-original-host", "x-http-host-override", "forwarded"),
    }
)
"""Headers for which servers take a request for another than its method, path and host say."""


class Target(NamedTuple):
    """What a request asks for: its path as it was sent, and the query after it (or empty)."""

    path: str
    query: str

    @property
    def plain(self) -> str:
        """The path as policy is asked about it; empty for one that can be read in two ways."""
        decoded = unquote_to_bytes(self.path).decode("latin-1")
        steps = decoded.split("/")
        if _MIXED.search(self.path) or "." in steps or ".." in steps:
            return ""
        return self.path

    def __str__(self) -> str:
        """The request target."""
        return f"{self.path}?{self.query}" if self.query else self.path


def named(host: str) -> str:
    """A DNS name in lower case, without a final dot. Problem PC5050 for what is none."""
    name = host.lower().removesuffix(".")
    if len(name) > _LONGEST or _NAME.fullmatch(name) is None:
        raise Problem("PC5050", "the host is no DNS name; addresses are refused in every notation")
    return name


def authority(text: str, default: int | None = None) -> Destination:
    """``host:port``, where the port may be left out if there is a ``default``."""
    found = _AUTHORITY.fullmatch(text)
    if found is None or (found[2] is None and default is None):
        raise Problem("PC5050", "the target is not NAME:PORT")
    port = int(found[2]) if found[2] else default or 0
    if not 0 < port < 2**16:
        raise Problem("PC5050", "the port is none")
    return Destination(host=named(found[1]), port=port)


def absolute(target: str) -> tuple[Destination, Target]:
    """``http://host/path``: the request for a plain server that goes through a proxy."""
    if not target.lower().startswith("http://"):
        raise Problem("PC5050", "only http:// is asked for so; use CONNECT for everything else")
    place, slash, rest = target[7:].partition("/")
    if "?" in place or "#" in place:
        raise Problem("PC5050", "the URL has no path")
    return authority(place, HTTP), origin(slash + rest or "/")


def origin(target: str) -> Target:
    """A path and a query. Problem PC1011 for any other form."""
    if _TARGET.fullmatch(target) is None or "#" in target:
        raise Problem("PC1011", "the request's target is no path")
    path, _, query = target.partition("?")
    return Target(path, query)


def method(name: str) -> str:
    """One of ``METHODS``. Problem PC1011 for another."""
    if name not in METHODS:
        raise Problem("PC1011", "not a method that goes through the gate")
    return name


def same_host(headers: Headers, destination: Destination, default: int) -> None:
    """Problem PC5057 unless there is one Host header, and it names the destination."""
    hosts = [value for name, value in headers if name == "host"]
    if len(hosts) != 1:
        raise Problem("PC5057", "the request has not one Host header")
    try:
        found = authority(hosts[0], default)
    except Problem:
        raise Problem("PC5057", "the Host header is no host") from None
    if found != destination:
        raise Problem("PC5057", "the Host header names another host")


def framed(headers: Headers) -> None:
    """Problem PC1011 for a message whose length is said in two ways (RFC 9112 section 6.3)."""
    names = [name for name, _ in headers]
    if "transfer-encoding" in names and "content-length" in names:
        raise Problem("PC1011", "both Content-Length and Transfer-Encoding")
    if names.count("content-length") > 1 or names.count("transfer-encoding") > 1:
        raise Problem("PC1011", "the length is said twice")


def meant(headers: Headers) -> None:
    """Problem PC1011 for a header that makes a request another than the one that is judged."""
    for name, _ in headers:
        plain = name.replace("_", "-")
        if plain in _OVERRIDING:
            raise Problem("PC1011", f"{plain} would make it another request")


def passing(headers: Headers, without: Iterable[str] = ()) -> list[list[str]]:
    """The headers that go on: none of this hop, none that Connection names, none in ``without``."""
    dropped = _HOPS | {*without}
    for name, value in headers:
        if name == "connection":
            dropped |= {one.strip().lower() for one in value.split(",")}
    return [[name, value] for name, value in headers if name not in dropped]


def first(headers: Iterable[Sequence[str]], wanted: str) -> str:
    """The value of the first header of this name (lower case), or empty."""
    return next((value for name, value in headers if name == wanted), "")


def written(headers: Iterable[Sequence[str]]) -> list[tuple[bytes, bytes]]:
    """Headers as bytes, as they were read: Problem PC1011 for what no header can hold."""
    try:
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
    except UnicodeEncodeError:
        raise Problem("PC1011", "a header that cannot be written") from None


def asked(
    way: Way, where: Destination, *, scheme: str = "", method: str = "", path: str = ""
) -> dict[str, Any]:
    """What policy is asked about: the arguments of a call of egress."""
    return {
        "way": way.value,
        "scheme": scheme,
        "host": where.host,
        "port": where.port,
        "method": method,
        "path": path,
    }
