"""Which addresses egress may connect to: public ones, and what the configuration excepts.

Translated and embedded IPv4 addresses (mapped, compatible, 6to4, Teredo) are refused whatever they
hold; of NAT64's, the address within counts. Metadata services are never excepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_NAT64: Final = ip_network("64:ff9b::/96")
_REFUSED: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",
            "::/96",
            "::ffff:0:0/96",
            "::ffff:0:0:0/96",
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "3fff::/20",
            "5f00::/16",
            "fec0::/10",
            "ff00::/8",
        ),
    )
)
"""Special-purpose networks (IANA registries, RFC 6890) beyond what Python calls not global."""
_METADATA: Final = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",
            "100.100.100.200/32",
            "168.63.129.16/32",
            "192.0.0.192/32",
            "fe80::/10",
            "fd00:ec2::254/128",
            "fd20:ce::254/128",
        ),
    )
)
"""Where clouds keep machines' credentials, and all that is link-local."""


def metadata(address: Address) -> bool:
    """Whether an address is a cloud's own, which nobody may reach through the gate."""
    return _within(address, _METADATA)


def public(address: Address) -> bool:
    """Whether an address is a public one of a single host."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.scope_id is not None:
            return False
    inner = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not inner and not _within(address, (*_REFUSED, *_METADATA))


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == one.version and address in one for one in networks)


class Reachable:
    """Public addresses, and for a host pattern of ``private`` its networks."""

    def __init__(self, private: Mapping[str, Sequence[Network]]) -> None:
        self._private = dict(private)

    def __call__(self, host: str, address: str) -> bool:
        """Whether a host may be reached at an address."""
        found = ip_address(address)
        if public(found):
            return True
        if metadata(found):
            return False
        return any(
            fnmatchcase(host, pattern) and _within(found, networks)
            for pattern, networks in self._private.items()
        )
