"""Whether a URL or a host name leads inside: to this machine, its network, its cloud's metadata.

Server-side request forgery (CWE-918). Nothing is resolved: a name is judged by what it says, so
a public name that resolves to an inner address is for the egress filter. Every reading of an
ambiguous value counts: an address hidden from one parser is seen by another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

_MAX: Final = 4096
_SPLIT: Final = re.compile(r"[\s,;|<>\"']+")
_AUTHORITY: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?[/\\]{2,}([^/\\]*)", re.IGNORECASE)
_BARE: Final = re.compile(r"(?:(?:https?|wss?|ftp|gopher):[/\\]*)?([^/\\]*)", re.IGNORECASE)
_SINGLE: Final = re.compile(
    r"(?:https?|wss?|ftp|gopher):[/\\]*((?![0-9]+[:/\\?#]|0x)[a-z0-9_-]+)(?=$|[:/\\?#])",
    re.IGNORECASE,
)
"""A URL whose host is a name without a dot: only an inner resolver knows it."""

_END: Final = re.compile(r"[?#]")
_PORT: Final = re.compile(r":\d*$")
_DOTS: Final = str.maketrans("\u3002\uff0e\uff61", "...")
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
_EMBEDDED: Final = re.compile(
    r"(?<![0-9])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?![0-9])"
)

_NAMES: Final = frozenset(
    {"localhost", "localhost6", "ip6-localhost", "ip6-loopback", "metadata", "instance-data"}
    | {"broadcasthost", "kubernetes", "host-gateway"}
)
_INNER: Final = (
    *("localhost", "localdomain", "local", "internal", "intranet", "private", "lan", "corp"),
    *("home.arpa", "svc", "cluster.local", "consul", "docker"),
)
"""Suffixes of names that only an inner resolver answers (RFC 6761, 6762, 8375, and custom)."""

_POINTING: Final = (
    *("nip.io", "sslip.io", "xip.io", "traefik.me", "lvh.me", "localtest.me", "vcap.me"),
    *("lacolhost.com", "local.gd", "localdev.me", "fuf.me", "rbndr.us"),
)
"""Public domains whose names resolve to any address that one likes, loopback included."""

_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ip_network("::/96")


def inside(value: str) -> bool:
    """Whether any destination that can be read from a URL, a host or a list of them is inside.

    So is what is longer than any URL should be: nobody reads it to its end.
    """
    return len(value) > _MAX or any(_inner(name) for name in _hosts(value))


def _hosts(value: str) -> Iterator[str]:
    """Every host that some reader of URLs could see in the value, in lower case."""
    plain = unicodedata.normalize("NFKC", re.sub(r"[\t\r\n\u200b-\u200f\u2060\ufeff]", "", value))
    for text in dict.fromkeys((plain, unquote(plain), unquote(unquote(plain)))):
        for place, piece in enumerate(_SPLIT.split(text.strip())):
            single = _SINGLE.match(piece)
            if single:
                yield f"{single.group(1)}.internal"
            bare = _BARE.match(piece)
            # Words of a query that happen to be numbers are no hosts.
            first = [bare.group(1)] if bare and not (place and piece.isdigit()) else []
            for authority in (*_AUTHORITY.findall(piece), *first):
                for part in authority.split("@"):
                    yield _name(_END.split(part, maxsplit=1)[0])


def _name(authority: str) -> str:
    text = authority.translate(_DOTS).lower()
    if text.startswith("["):
        return text[1:].partition("]")[0].partition("%")[0]
    if text.count(":") > 1:  # a bare IPv6 address
        return text.partition("%")[0]
    return _PORT.sub("", text).rstrip(".")


def _inner(name: str) -> bool:
    if not name:
        return False
    address = _address(name)
    if address is not None:
        return _inner_address(address)
    if name in _NAMES or any(f".{name}".endswith(f".{one}") for one in (*_INNER, *_POINTING)):
        return True
    embedded = (_address(".".join(one)) for one in _EMBEDDED.findall(name))
    return any(found is not None and _inner_address(found) for found in embedded)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    """An address in any form that ``inet_aton`` or a browser takes; None for a name."""
    if ":" in name:
        try:
            return ip_address(name)
        except ValueError:
            return None
    parts = name.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):  # noqa: PLR2004 - octets
        return None
    *head, last = map(_number, parts)
    room = 256 ** (4 - len(head))
    if any(number > 255 for number in head) or last >= room:  # noqa: PLR2004 - an octet
        return None
    return IPv4Address(sum(n << (24 - 8 * i) for i, n in enumerate(head)) + last)


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    if part.startswith("0") and re.fullmatch("[0-7]+", part):
        return int(part, 8)
    return int(part[:40])


def _inner_address(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return _inner_address(embedded)
    return not address.is_global or address.is_multicast


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address in an IPv6 one: mapped, compatible, 6to4, NAT64 (RFC 4291, 3056, 6052)."""
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address in _COMPATIBLE or any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
