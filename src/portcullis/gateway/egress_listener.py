"""The socket of egress: every connection is admitted like those of the gate's other listeners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeAlias

from portcullis.core.errors import Problem
from portcullis.gateway.accepting import hold_off
from portcullis.gateway.admission import Admissions, Refused
from portcullis.gateway.bounded import LEAVING
from portcullis.gateway.listener import bound
from portcullis.gateway.live import Connection, Live
from portcullis.gateway.tls import ServerTls

_BACKLOG: Final = 1024
_PER_PLACE: Final = 4
"""All agents together may have so many times what one may."""
_END_SECONDS: Final = 2.0
"""How long those whose connection is closed may take to notice."""
_BUFFER: Final = 2**18
"""Bytes that wait for us before the client is made to wait."""


_Begun: TypeAlias = Callable[[Connection, asyncio.StreamReader, asyncio.StreamWriter], None]


class Proxied(Protocol):
    """What serves admitted connections; ``running`` is what may still end when it closes."""

    draining: bool

    @property
    def running(self) -> int:
        """How much of it there is."""
        ...

    async def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection
    ) -> None:
        """Serve one until it ends."""
        ...


class _Served(asyncio.StreamReaderProtocol):
    """A connection, from admission to its end; whoever leaves ends what runs for it."""

    def __init__(self, begun: _Begun, live: Live, connection: Connection) -> None:
        reader = asyncio.StreamReader(limit=_BUFFER)
        super().__init__(reader, partial(begun, connection))
        self._live = live
        self._connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        """See Protocol."""
        super().connection_lost(exc)
        self._connection.lost()
        self._live.disconnect(self._connection)


class EgressListener:
    """Like ``gateway.listener.Listener``, for what is no ASGI application."""

    def __init__(
        self,
        proxy: Proxied,
        address: str,
        *,
        tls: ServerTls,
        live: Live,
        refused: Refused,
        seconds: float,
        drain_seconds: float,
        stalled_seconds: float,
        places: int,
        shared: bool = False,
    ) -> None:
        """``places`` is how many connections one agent may have open, idle or not."""
        self._proxy = proxy
        self._places = places
        self._drain_seconds = drain_seconds
        self._shared = shared
        self._socket = bound(address, shared=shared)
        self._socket.listen(_BACKLOG)
        self._admissions = Admissions(
            tls,
            live,
            refused=refused,
            seconds=seconds,
            shutdown_seconds=stalled_seconds,
            served=self._served,
        )
        self._live = live
        self._serving: dict[asyncio.Task[None], Connection] = {}

    @property
    def url(self) -> str:
        """Where it listens, with the real port."""
        host, port = self._socket.getsockname()[:2]
        return "https://" + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    async def open(self) -> None:
        """Start to accept connections."""
        self._admissions.start(self._socket)

    async def close(self) -> None:
        """Accept no more; what runs, or is asked at once, may go on for a while, then it is cut."""
        self._proxy.draining = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._shared:
            await hold_off(self._socket)
        await self._admissions.leave(self._socket)
        self._admissions.close()
        await self._admissions.wait_closed()
        self._socket.close()
        while self._serving and loop.time() < began + self._drain_seconds:
            if not self._proxy.running and loop.time() > began + LEAVING:
                break
            await asyncio.sleep(0.02)
        for connection in tuple(self._serving.values()):
            connection.abort()
        if self._serving:
            await asyncio.wait(self._serving, timeout=_END_SECONDS)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _served(self, connection: Connection) -> asyncio.Protocol:
        """Raises Problem PC5006 for one too many in all, PC5025 of one agent."""
        mine = sum(_who(one) == _who(connection) for one in self._serving.values())
        if len(self._serving) >= _PER_PLACE * self._places:
            raise Problem("PC5006", "too many connections")
        if mine >= self._places:
            raise Problem("PC5025", "too many connections of one agent")
        return _Served(self._begun, self._live, connection)

    def _begun(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        work = self._proxy.connected(reader, writer, connection)
        task = asyncio.get_running_loop().create_task(work)
        self._serving[task] = connection
        task.add_done_callback(lambda done: self._serving.pop(done, None))


def _who(connection: Connection) -> str:
    return str(connection.peer.id) if connection.peer is not None else ""
