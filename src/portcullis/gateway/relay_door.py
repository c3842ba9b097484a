"""Where other gateways of this machine hand in requests for what this one keeps.

The socket is its user's alone (0600, and the kernel says who connects), and what comes must have
been made by a gateway, for this one, just now. The request is then served as if it had come here:
authenticated in full, by the same router, within reach of a cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import structlog

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.gateway.http import App, Message, Scope, send_json
from portcullis.gateway.live import Connection, Live
from portcullis.gateway.relay import RELAYED, read_frame
from portcullis.identity.attest.unix import credentials
from portcullis.wire import relay as wire
from portcullis.wire.json import encode
from portcullis.wire.relay import Head, Kind, Start

log = structlog.get_logger(__name__)

_BACKLOG: Final = 1024


class Door:
    """The socket of the gateway ``name`` in ``folder``. A head may take ``seconds`` to arrive.

    At the end what runs may take ``drain_seconds`` more, from ``drain`` on.
    """

    def __init__(
        self,
        app: App,
        name: str,
        folder: Path,
        key: bytes,
        *,
        live: Live,
        clock: Clock,
        seconds: float,
        drain_seconds: float,
    ) -> None:
        self._app = app
        self._name = name
        self._folder = folder
        self._key = key
        self._live = live
        self._clock = clock
        self._seconds = seconds
        self._drain_seconds = drain_seconds
        self._running: set[asyncio.Task[None]] = set()
        self._until = 0.0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve until the block ends. Raises Problem PC7001 when that cannot be."""
        listening = self._listening()
        server = await asyncio.start_unix_server(self._enter, sock=listening)
        try:
            yield
        finally:
            server.close()
            (self._folder / f"{self._name}.sock").unlink(missing_ok=True)
            self.drain()
            if self._running:
                seconds = max(0.0, self._until - asyncio.get_running_loop().time())
                await asyncio.wait(self._running, timeout=seconds)
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def drain(self) -> None:
        """From now on, what runs has ``drain_seconds``, whether the socket is closed or not."""
        if not self._until:
            self._until = asyncio.get_running_loop().time() + self._drain_seconds

    def _listening(self) -> socket.socket:
        """Nobody else runs under this name: whoever does holds its log."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                place = Path(f"/proc/self/fd/{folder}/{self._name}.sock")  # may be long (unix(7))
                place.unlink(missing_ok=True)
                listening.bind(os.fspath(place))
                place.chmod(0o600)  # nobody is let in before it listens
            finally:
                os.close(folder)
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            detail = f"{self._folder} cannot be used for sockets: {error.strerror}"
            raise Problem("PC7001", detail) from None
        listening.setblocking(False)  # noqa: FBT003 - the standard library's signature
        return listening

    async def _enter(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            head = await self._admitted(reader, writer)
            if head is not None:
                await self._serve(head, reader, writer)
        except (OSError, EOFError):
            log.info("relay_left")
        finally:
            writer.close()

    async def _admitted(self, reader: StreamReader, writer: StreamWriter) -> Head | None:
        """The head of a request that a gateway has passed on; what comes from others is dropped."""
        try:
            if credentials(writer.get_extra_info("socket"))[1] != os.geteuid():
                raise Problem("PC7051", "another user")
            async with asyncio.timeout(self._seconds):
                kind, content = await read_frame(reader)
            if kind is not Kind.HEAD:
                raise Problem("PC7051", "no head")
            return wire.open_head(content, self._key, to=self._name, now=self._clock.now())
        except (Problem, TimeoutError) as error:
            log.warning("relay_refused", reason=getattr(error, "detail", "too slow"))
            return None

    async def _serve(self, head: Head, reader: StreamReader, writer: StreamWriter) -> None:
        connection = Connection(writer.transport.abort, head.peer)
        coming = _Coming(reader, connection)
        pump = asyncio.ensure_future(coming.pump())
        send = _Sending(writer)
        try:
            self._live.connect(connection)
            await self._app(_scope(head, connection), coming.receive, send)
        except Problem as problem:  # who is cut off, or whose authority is trusted no more
            await send_json(send, problem.status, encode(problem.document()))
        finally:
            self._live.disconnect(connection)
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        await writer.drain()


class _Coming:
    """The request's body, and its client leaving, as ASGI tells of them."""

    def __init__(self, reader: StreamReader, connection: Connection) -> None:
        self._reader = reader
        self._connection = connection
        self._messages: asyncio.Queue[Message] = asyncio.Queue(4)
        self._left = asyncio.Event()

    async def receive(self) -> Message:
        """The next message."""
        if self._left.is_set() and self._messages.empty():
            return {"type": "http.disconnect"}
        message = asyncio.ensure_future(self._messages.get())
        left = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({message, left}, return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else {"type": "http.disconnect"}
        finally:
            message.cancel()
            left.cancel()

    async def pump(self) -> None:
        """Read until the other gateway is gone; then what runs for it ends."""
        try:
            while True:
                kind, content = await read_frame(self._reader)
                if kind not in {Kind.BODY, Kind.END}:
                    return
                more = kind is Kind.BODY
                await self._messages.put(
                    {"type": "http.request", "body": content, "more_body": more}
                )
        except (OSError, EOFError, Problem):
            return
        finally:
            self._left.set()
            self._connection.lost()


class _Sending:
    """The answer, as ASGI tells it, as frames."""

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer

    async def __call__(self, message: Message) -> None:
        """One part of it."""
        write = self._writer.write
        if message["type"] == "http.response.start":
            start = Start(message["status"], tuple((n, v) for n, v in message["headers"]))
            write(wire.frame(Kind.START, wire.close_start(start)))
            return
        for piece in wire.body(message.get("body", b"")):
            write(piece)
        if not message.get("more_body", False):
            write(wire.frame(Kind.END))
        await self._writer.drain()


def _scope(head: Head, connection: Connection) -> Scope:
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": head.method,
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query,
        "root_path": "",
        "scheme": head.scheme,
        "server": head.server,
        "client": head.client,
        "headers": list(head.headers),
        "portcullis.connection": connection,
        RELAYED: head.by,
    }
    if head.tls:
        scope["portcullis.peer"] = head.peer
    return scope
