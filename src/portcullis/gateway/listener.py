"""Listening: uvicorn with httptools, bounded heads, and no request that goes unrecorded.

A request that does not arrive within its time, or whose head is too large, is cut; bytes that
are not HTTP/1.1 (RFC 9112), smuggling attempts among them, are answered 400 and recorded. A peer
that does not read its answers is dropped. Under TLS, ``gateway.admission`` comes first.

An application finds in its scope ``portcullis.connection`` (``gateway.live``) and, under TLS,
``portcullis.peer`` (``core.credential``).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, cast

import uvicorn

from portcullis.core.errors import Problem
from portcullis.gateway.accepting import BACKLOG, hold_off, queued
from portcullis.gateway.admission import Admissions, Refused
from portcullis.gateway.bounded import KEEP_ALIVE, BoundedProtocol
from portcullis.gateway.http import App
from portcullis.gateway.live import Connection, Live
from portcullis.gateway.tls import ServerTls


class Listener(uvicorn.Server):
    """One listening socket and its application. The process's signals are not its business.

    With ``tls`` every connection is admitted first, in at most ``seconds``. A ``shared`` one stands
    beside those of other processes of this user at the same address: the kernel gives each of them
    its part of the connections (SO_REUSEPORT, socket(7)).
    """

    def __init__(
        self,
        app: App,
        address: str,
        *,
        refused: Refused,
        live: Live,
        seconds: float,
        drain_seconds: float,
        stalled_seconds: float = 60,
        tls: ServerTls | None = None,
        shared: bool = False,
    ) -> None:
        self._socket = bound(address, shared=shared)
        self._socket.listen(BACKLOG)
        self._shared = shared
        protocol: type[BoundedProtocol] = type(
            "ListenerProtocol",
            (BoundedProtocol,),
            {
                "refused": staticmethod(refused),
                "live": live,
                "seconds": seconds,
                "stalled_seconds": stalled_seconds,
            },
        )
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=round(KEEP_ALIVE),
                timeout_graceful_shutdown=max(1, round(drain_seconds)),
            )
        )
        self._protocol = protocol
        self._task: asyncio.Task[None] | None = None
        self._told = asyncio.Event()
        self._admissions: Admissions | None = None
        if tls is not None:

            def served(connection: Connection) -> BoundedProtocol:
                made = protocol(self.config, self.server_state, {})
                made.connection = connection
                return made

            self._admissions = Admissions(
                tls,
                live,
                refused=refused,
                seconds=seconds,
                shutdown_seconds=stalled_seconds,
                served=served,
            )

    @property
    def url(self) -> str:
        """Where it listens, with the real port."""
        host, port = self._socket.getsockname()[:2]
        scheme = "http" if self._admissions is None else "https"
        return f"{scheme}://" + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the composition root."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept by ourselves what has to be admitted (uvicorn's method)."""
        if self._admissions is None:
            await super().startup(sockets)
            return
        self._admissions.start(self._socket)
        self.servers = cast("list[asyncio.base_events.Server]", [self._admissions])
        self.started = True

    async def main_loop(self) -> None:
        """Serve until told to end (uvicorn's method, which looks ten times a second)."""
        await self.on_tick(0)
        await self._told.wait()

    async def open(self) -> None:
        """Start to accept connections."""
        self._task = asyncio.create_task(self.serve(sockets=[self._socket]))
        while not self.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        """Stop accepting, let running requests finish within their time, cancel the rest.

        Whoever is connected already is served: what the kernel queued, what is asked on idle
        connections. Each is told that it was the last answer.
        """
        if self._task is None:
            self._socket.close()
            return
        if self._told.is_set():
            await asyncio.wait({self._task})
            return
        self._protocol.leaving = True
        for connection in tuple(self.server_state.connections):
            cast("BoundedProtocol", connection).leave()
        with self._socket.dup() as last:
            await self._leave(last)
        self.should_exit = True
        self._told.set()
        await self._task
        tasks: list[asyncio.Task[Any]] = list(self.server_state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=2)
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()

    async def _leave(self, last: socket.socket) -> None:
        """Take whom the kernel has queued; ``last`` is what holds the socket open."""
        if self._shared:
            await hold_off(last)
        if self._admissions is not None:
            await self._admissions.leave(last)
            return
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # no more files
            for accepted, _ in queued(last):
                await loop.connect_accepted_socket(
                    lambda: self._protocol(self.config, self.server_state, {}), accepted
                )


def bound(address: str, *, shared: bool = False) -> socket.socket:
    """A socket that is bound there and does not listen yet. Raises Problem PC7001 when it cannot.

    ``shared`` lets further sockets be bound there that are shared too.
    """
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host  # RFC 6761: whatever a resolver says
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # with no delay
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((host.strip("[]"), int(port)))
    except OSError as error:
        made.close()
        raise Problem("PC7001", f"cannot listen on {address}: {error.strerror}") from None
    made.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return made
