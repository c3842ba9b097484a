"""Egress: what an agent asks of the network, and on what terms policy lets it out."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Way(StrEnum):
    """What is asked for: an address, a connection, or one request that the gate can read."""

    DNS = "dns"
    CONNECT = "connect"
    REQUEST = "request"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where to: a DNS name in lower case, never an address, and a port (0 of a DNS question)."""

    host: str
    port: int

    def __str__(self) -> str:
        """``host:port``, which is how the record names it."""
        return f"{self.host}:{self.port}" if self.port else self.host


class EgressTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What goes with a grant.

    ``terminate``: the gate ends TLS here and reads every request. ``plain``: what is not encrypted
    may go there. ``inject`` is the name of the credential (``egress.credentials``) that a request
    gets after the last check, empty for none.
    """

    terminate: bool = False
    plain: bool = False
    inject: str = ""
