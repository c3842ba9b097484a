"""How agents reach the network through the gate."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field

from portcullis.config.common import SECRET, Name, Section

_HOST = r"^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9])?$"
Host = Annotated[str, Field(pattern=_HOST)]


class EgressCredential(Section):
    """What policy may have put into requests: ``scheme`` and the secret, in ``header``.

    An empty ``scheme`` leaves the secret alone there.
    """

    credential: str = Field(pattern=SECRET)
    header: str = Field(default="authorization", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")
    scheme: str = Field(default="Bearer", pattern=r"^[A-Za-z0-9-]{0,32}$")


class Egress(Section):
    """The proxy for agents on ``listen.egress``; where they may go is policy's (``egress:``).

    ``resolve`` names addresses that are not asked for. ``private`` lists, for a host (or ``*.`` and
    the end of many), the networks within which it may be though they are not public.
    ``authorities`` is a file (PEM) of those by whom hosts' certificates are vouched for, in place
    of the system's. ``credentials`` are what rules may ``inject``.
    """

    resolve: dict[Host, tuple[IPv4Address | IPv6Address, ...]] = Field(default_factory=dict)
    private: dict[Host, tuple[IPv4Network | IPv6Network, ...]] = Field(default_factory=dict)
    authorities: Path | None = None
    credentials: dict[Name, EgressCredential] = Field(default_factory=dict)
    tunnels: int = Field(default=256, ge=1)
    """Connections at once; one agent has a quarter of them, and at least one."""
    tunnel_seconds: float = Field(default=3600, gt=0)
    idle_seconds: float = Field(default=300, gt=0)
    """The longest silence of a tunnel."""
