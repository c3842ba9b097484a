"""The connections to one upstream: made when none is idle, kept for reuse, never shared.

A pool belongs to one upstream of the configuration, so that no connection ever carries the
credentials of two.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from portcullis.core.errors import Problem
from portcullis.execution.connection import Connection, alert
from portcullis.execution.endpoint import Addresses
from portcullis.execution.tls import Tls

KEEP_SECONDS: Final = 15.0


class Pool:
    """``take`` or ``connect`` gives a connection; ``give`` takes it back.

    The one used last is reused first; one that was idle for ``keep_seconds`` is closed within as
    much again. A connection is made only when none is idle, so there are never more than there
    were exchanges at once. One whose peer is no longer trusted (``tls``) is not reused.
    """

    def __init__(
        self,
        addresses: Addresses,
        *,
        tls: Tls,
        connect_seconds: float,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self._addresses = addresses
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._keep_seconds = keep_seconds
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many connections there are, idle or not."""
        return len(self._all)

    def take(self) -> Connection | None:
        """Return an idle connection, if there is one that is still open."""
        while self._idle:
            connection = self._idle.pop()
            if connection.closing:
                continue
            if connection.peer is None or self._tls.trusts(connection.peer):
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """Make a connection; Problem PC5001 when there is none in time."""
        addresses = self._addresses
        try:
            async with asyncio.timeout(self._connect_seconds):
                transport, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._all.discard),
                    addresses.host,
                    addresses.port,
                    ssl=self._tls.context() if addresses.tls else None,
                    server_hostname=addresses.host.rstrip(".") if addresses.tls else None,
                )
        except TimeoutError:
            raise Problem("PC5001", "no connection to the upstream in time") from None
        except ssl.SSLCertVerificationError:
            raise Problem("PC5001", self._tls.untrusted) from None
        except (OSError, UnicodeError) as error:
            said = alert(error)
            why = f": it refused TLS with us ({said})" if said else ""
            raise Problem("PC5001", f"no connection to the upstream{why}") from None
        if addresses.tls:
            try:
                connection.peer = self._tls.peer(transport.get_extra_info("ssl_object"))
            except Problem:
                connection.abort()
                raise
        if self._closed:
            connection.abort()
            raise Problem("PC5013", "the forwarder is closed")
        if not connection.closing:
            self._all.add(connection)
        return connection

    def give(self, connection: Connection) -> None:
        """End a connection's exchange; keep it when it may carry another."""
        if connection.finish():
            self._idle.append(connection)
            if self._reaper is None:
                self._await_idle()

    def close(self) -> None:
        """Abort all connections; exchanges that are under way fail."""
        self._closed = True
        self._idle.clear()
        if self._reaper is not None:
            self._reaper.cancel()
        for connection in tuple(self._all):
            connection.abort()

    def _await_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._reaper = loop.call_later(self._keep_seconds, self._reap, loop)

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        self._reaper = None
        oldest = loop.time() - self._keep_seconds
        kept = [one for one in self._idle if one.idle_since > oldest and not one.closing]
        for connection in set(self._idle).difference(kept):
            connection.abort()
        self._idle = kept
        if kept:
            self._await_idle()
