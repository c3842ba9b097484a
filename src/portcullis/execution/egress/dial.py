"""Names and connections of egress: resolved here, judged, and connected to exactly so.

A name is resolved only for what policy has let through. The connection goes to an address that was
judged, so a name that changes its address between the two gains nothing (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Collection, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem
from portcullis.execution.connection import alert
from portcullis.execution.egress.addresses import Reachable
from portcullis.execution.egress.names import Names

_MOST: Final = 8
"""Addresses of one host that are tried."""
_BUFFER: Final = 2**18


class Dialer:
    """Implements ``core.egress_ports.Dialer``.

    ``fixed`` are names that are not resolved; ``own`` says at which ports this deployment listens:
    nobody reaches those through it, whatever is excepted. ``tls`` makes the context under which
    hosts are verified.
    """

    def __init__(
        self,
        reachable: Reachable,
        *,
        fixed: Mapping[str, Sequence[str]],
        own: Callable[[], Collection[int]],
        tls: Callable[[], ssl.SSLContext],
        seconds: float,
    ) -> None:
        self._reachable = reachable
        self._fixed = dict(fixed)
        self._own = own
        self._tls = tls
        self._seconds = seconds
        self._names = Names(seconds)

    def close(self) -> None:
        """Look no more names up."""
        self._names.close()

    async def addresses(self, host: str, port: int, agent: str = "") -> tuple[str, ...]:
        """See the port."""
        found = await self._resolved(host, agent)
        if not all(self._reachable(host, one) for one in found):
            raise Problem("PC5052", "an address of the host is not a public one")
        if port in self._own() and any(map(_ours, found)):
            raise Problem("PC5052", "the gate itself is not reached through it")
        return found[:_MOST]

    async def dial(
        self, host: str, port: int, addresses: tuple[str, ...], *, tls: bool
    ) -> tuple[StreamReader, StreamWriter]:
        """See the port."""
        error: Exception | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(self._seconds):
                    return await asyncio.open_connection(
                        address,
                        port,
                        limit=_BUFFER,
                        ssl=self._tls() if tls else None,
                        server_hostname=host if tls else None,
                        flags=socket.AI_NUMERICHOST,
                    )
            except ssl.SSLCertVerificationError:
                raise Problem("PC5001", "the host's certificate is not trusted") from None
            except (OSError, TimeoutError) as failed:
                error = failed
        said = alert(error) if isinstance(error, OSError) else ""
        why = f": it refused TLS with us ({said})" if said else ""
        raise Problem("PC5001", f"no connection to the host{why}")

    async def _resolved(self, host: str, agent: str) -> tuple[str, ...]:
        fixed = self._fixed.get(host)
        if fixed is not None:
            return tuple(fixed)
        return await self._names.addresses(host, agent)


def _ours(address: str) -> bool:
    """Whether an address is one of this machine's: whether a socket can be bound to it."""
    found = ip_address(address)
    if found.is_loopback or found.is_unspecified:
        return True
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind((address, 0))
        return True
    return False


def verifying(authorities: Path | None) -> Callable[[], ssl.SSLContext]:
    """The context under which hosts are verified: by name, by the system's authorities or these.

    Raises Problem PC7001 when they cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        said = error.strerror or "not certificates"
        raise Problem("PC7001", f"egress.authorities: {said}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return lambda: context
