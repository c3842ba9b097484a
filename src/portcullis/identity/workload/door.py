"""The way in: the kernel says who has connected, then the bytes are handed on to gRPC.

gRPC cannot ask the kernel who is at the other end of a Unix socket. So the public socket is ours:
for each connection we pin the peer's process, connect to gRPC's private socket from a client
socket with a name of its own, and copy bytes. gRPC reports that name as the call's peer, and
``caller`` finds the process by it. The private sockets lie in a directory that only our own user
can enter; a connection that was not made here has no known name and is nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import structlog

from portcullis.core.errors import Problem
from portcullis.identity.attest.unix import Process, credentials
from portcullis.identity.splicing import PIECE, close, copy
from portcullis.identity.workload.bounds import Bounds

log = structlog.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.1


class Door:
    """Lets callers in, up to its bounds. ``refused`` gets the uid and pid of who is not."""

    def __init__(
        self, private: Path, bounds: Bounds, refused: Callable[[int, int, Problem], None]
    ) -> None:
        self._private = private
        self._bounds = bounds
        self._refused = refused
        self._callers: dict[str, Process] = {}
        self._users: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def caller(self, peer: str) -> Process:
        """Who is at the other end, by the name of gRPC's peer. Problem PC2060: nobody known."""
        found = self._callers.get(peer.rpartition("/")[2])
        if found is None:
            raise Problem("PC2060", "the connection did not come through the public socket")
        return found

    @contextlib.asynccontextmanager
    async def open(self, public: socket.socket) -> AsyncIterator[None]:
        """Take connections from a listening socket until the block ends; then cut them all."""
        accepting = asyncio.create_task(self._accept(public))
        try:
            yield
        finally:
            for task in (tasks := {accepting, *self._tasks}):
                task.cancel()
            await asyncio.wait(tasks)

    async def _accept(self, public: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(public)
            except OSError as error:  # such as no file handles left
                log.warning("workload_accept_failed", error=error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            process = self._admitted(connection)
            if process is None:
                connection.close()
                continue
            self._users[process.uid] += 1
            task = asyncio.create_task(self._attend(connection, process))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _admitted(self, connection: socket.socket) -> Process | None:
        pid, uid, _ = credentials(connection)
        try:
            if self._users.total() >= self._bounds.connections:
                raise Problem("PC5006", "too many connections to the Workload API")
            if self._users[uid] >= self._bounds.connections_per_user:
                raise Problem("PC5025", "too many connections of this user to the Workload API")
            return Process(connection)
        except Problem as problem:
            self._refused(uid, pid, problem)
        except OSError as error:
            log.warning("workload_accept_failed", error=error.strerror)
        return None

    async def _attend(self, connection: socket.socket, process: Process) -> None:
        """One connection, from its acceptance to its end."""
        name = secrets.token_hex(16)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def end() -> None:
            loop.remove_reader(process.pidfd)
            ended.set()

        loop.add_reader(process.pidfd, end)
        self._callers[name] = process
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.callback(connection.close)
                behind = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                behind.settimeout(0)
                await self._connect(behind, name)
                await _splice(connection, behind, ended)
        except OSError as error:
            log.warning("workload_connection_failed", error=error.strerror)
        finally:
            del self._callers[name]
            loop.remove_reader(process.pidfd)
            process.close()
            self._users[process.uid] -= 1
            self._users += Counter()  # forget those at zero

    async def _connect(self, behind: socket.socket, name: str) -> None:
        """Connect to gRPC under a name, which the socket keeps when its file is gone."""
        place = self._private.with_name(name)
        behind.bind(str(place))
        try:
            await asyncio.get_running_loop().sock_connect(behind, str(self._private))
        finally:
            place.unlink()


async def _splice(public: socket.socket, private: socket.socket, ended: asyncio.Event) -> None:
    """Copy both ways until one side closes or the peer's process ends."""
    async with contextlib.AsyncExitStack() as stack:
        reader, writer = await asyncio.open_unix_connection(sock=public, limit=PIECE)
        stack.push_async_callback(close, writer)  # last: what gRPC said last still goes out
        inner_reader, inner_writer = await asyncio.open_unix_connection(sock=private, limit=PIECE)
        stack.push_async_callback(close, inner_writer)
        ways = (
            copy(reader, inner_writer),
            copy(inner_reader, writer),
            ended.wait(),
        )
        copying = {asyncio.ensure_future(way) for way in ways}
        try:
            await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in copying:
                task.cancel()
