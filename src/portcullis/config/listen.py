"""Where the gate and the control plane listen."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from portcullis.config.common import Section


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the range of a port
        msg = "expected host:port"
        raise ValueError(msg)
    if ":" in host and not _in_brackets(host):
        msg = "an address of IPv6 stands in brackets: [fd00::5]:7305"
        raise ValueError(msg)
    return value


def _in_brackets(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return host[0] == "[" and host[-1] == "]"


def _loopback(value: str) -> str:
    if _address(value).rpartition(":")[0] not in {"127.0.0.1", "[::1]", "localhost"}:
        msg = (
            "only loopback here (127.0.0.1, [::1], localhost); from elsewhere, agents come to"
            " listen.mtls"
        )
        raise ValueError(msg)
    return value


def _reached(value: str) -> str:
    host = _address(value).rpartition(":")[0]
    if host == "*" or _unspecified(host.strip("[]")):
        msg = "the address by which other gateways reach this one"
        raise ValueError(msg)
    return value


def _unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


Address = Annotated[str, AfterValidator(_address)]
Reached = Annotated[str, AfterValidator(_reached)]
Loopback = Annotated[str, AfterValidator(_loopback)]


class Listen(Section):
    """Where to listen: ``host:port``.

    ``gate`` and ``control`` are plain HTTP, ``tls`` is TLS without client certificates: all three
    are for loopback only. ``mtls`` asks every client for its SVID. ``bootstrap`` serves, over TLS
    with our own SVID, the two things for which nobody can have a certificate yet: the trust
    bundle (SPIFFE federation) and enrolment. ``egress`` is the proxy through which agents reach the
    network, and ``decisions`` Envoy's ext_authz (gRPC); both ask for SVIDs, too. ``relay`` is
    where gateways of other hosts bring requests for what this one keeps, and asks for a gateway's
    SVID. ``workload`` is
    the SPIFFE Workload API's Unix socket, relative to the state directory. ``names`` are the DNS
    names and addresses that clients know the gate by: they stand in its certificate.
    """

    gate: Loopback = "127.0.0.1:7300"
    control: Loopback = "127.0.0.1:7301"
    mtls: Address | None = "127.0.0.1:7302"
    tls: Loopback | None = None
    bootstrap: Address | None = None
    egress: Address | None = None
    decisions: Address | None = None
    relay: Reached | None = None
    workload: Path | None = Path("workload.sock")
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{1,253}$")], ...] = (
        "localhost",
        "127.0.0.1",
        "::1",
    )
