"""The ways from one gateway to another: a Unix socket on one machine, TLS between machines.

Between machines each shows its own SVID and demands the other's: all gateways of a deployment have
one SPIFFE ID, and nobody else has it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import structlog

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.relay_ports import Peers
from portcullis.identity.attest.unix import credentials

log = structlog.get_logger(__name__)

PROTOCOL: Final = "portcullis-relay"
"""What is spoken under TLS (ALPN, RFC 7301)."""


class Tls(Protocol):
    """TLS towards the gateways of this deployment (``execution.tls.SpiffeTls``)."""

    def context(self) -> ssl.SSLContext: ...  # noqa: D102 - for the next connection
    def peer(self, tls: ssl.SSLObject) -> Peer | None: ...  # noqa: D102 - or Problem PC5001


class OtherHosts:
    """The way to gateways of other machines: where ``peers`` says, within ``seconds``."""

    def __init__(self, peers: Peers, tls: Tls, seconds: float) -> None:
        self._peers = peers
        self._tls = tls
        self._seconds = seconds

    async def to(self, name: str) -> tuple[StreamReader, StreamWriter]:
        """A connection to the gateway ``name``.

        Raises FileNotFoundError when no such gateway runs, ConnectionRefusedError when it is gone,
        another OSError when it cannot be reached, Problem PC7051 for somebody else.
        """
        address = self._peers.address(name)
        if address is None:
            await self._peers.look()
            address = self._peers.address(name)
        if address is None:
            raise FileNotFoundError(name)
        if not address:
            raise ConnectionError(name)
        url = urlsplit(address)
        try:
            async with asyncio.timeout(self._seconds):
                reader, writer = await asyncio.open_connection(
                    url.hostname, url.port, ssl=self._tls.context()
                )
        except (ssl.SSLError, Problem) as error:
            raise _stranger(name, str(error)) from None
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        try:
            self._tls.peer(tls)
            if tls.selected_alpn_protocol() != PROTOCOL:
                raise _stranger(name, "it speaks something else")
        except Problem as problem:
            writer.transport.abort()
            raise _stranger(name, problem.detail) from None
        return reader, writer


class Ways:
    """The way to each gateway: its socket in ``folder``, or ``elsewhere`` when none is there."""

    def __init__(self, folder: Path, elsewhere: OtherHosts | None = None) -> None:
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._elsewhere = elsewhere

    def close(self) -> None:
        """Go there no more."""
        os.close(self._folder)

    async def to(self, name: str) -> tuple[StreamReader, StreamWriter]:
        """A connection to the gateway ``name``. Raises as ``OtherHosts.to`` does."""
        try:
            return await self._here(name)
        except (FileNotFoundError, ConnectionRefusedError):
            if self._elsewhere is None:
                raise
        return await self._elsewhere.to(name)

    async def _here(self, name: str) -> tuple[StreamReader, StreamWriter]:
        """By its folder's handle: a path may be too long (unix(7))."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        try:
            connection.connect(f"/proc/self/fd/{self._folder}/{name}.sock")
            if credentials(connection)[1] != os.geteuid():
                raise PermissionError(name)
            return await asyncio.open_unix_connection(sock=connection)
        except BaseException:
            connection.close()
            raise


def _stranger(name: str, why: str) -> Problem:
    log.warning("relay_stranger", gateway=name, reason=why)
    return Problem("PC7051", "what answers for the gateway that keeps it is no gateway of ours")
