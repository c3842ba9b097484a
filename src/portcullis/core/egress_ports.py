"""The ports of egress: names, connections, certificates for terminated hosts, credentials."""

from __future__ import annotations

import ssl
from asyncio import StreamReader, StreamWriter
from typing import Protocol

from portcullis.core.call import Context


class Dialer(Protocol):
    """The way out.

    ``addresses`` asks for a name's addresses and raises Problem PC5051 when it has none, PC5052
    when any of them is one that agents may not reach, and PC5025 when ``agent`` asks for too many
    names at once. ``dial`` connects to an address that ``addresses`` returned for this name, and to
    no other: it raises PC5001 when none answers. With ``tls`` the certificate is held against
    ``host``, and the connection speaks HTTP/1.1.
    """

    async def addresses(self, host: str, port: int, agent: str = "") -> tuple[str, ...]: ...
    async def dial(
        self, host: str, port: int, addresses: tuple[str, ...], *, tls: bool
    ) -> tuple[StreamReader, StreamWriter]: ...


class Authority(Protocol):
    """Certificates for hosts whose TLS ends at the gate; each agent has a root of its own.

    ``root`` is that root (PEM), which vouches for nothing but the names in ``hosts`` (``*.x`` for
    all below x). ``context`` is what a handshake with this agent for this host is made under.
    """

    def root(self, agent: str, hosts: tuple[str, ...]) -> str: ...
    def context(self, agent: str, host: str) -> ssl.SSLContext: ...


class Given(Protocol):
    """A credential on its way out: the header that carries it, and whether an answer repeats it."""

    @property
    def header(self) -> tuple[str, str]: ...
    def found_in(self, data: bytes) -> bool: ...


class Credentials(Protocol):
    """The credentials that policy may have injected, by the names that the configuration gives.

    ``give`` raises Problem PC5056 for a name that it does not know, and PC5007.
    """

    async def give(self, name: str, host: str, context: Context) -> Given: ...
