"""Where other gateways hand in requests for what this one keeps.

On this machine that is a socket of its user's alone (0600, and the kernel says who connects). From
other hosts they come under TLS, with the SVID that only gateways have. What comes must have been
made by a gateway, for this one, just now. The request is then served as if it had come here:
authenticated in full, by the same router, within reach of a cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any, Final

import structlog

from portcullis.core.errors import Problem
from portcullis.core.formats import STRANGE
from portcullis.core.ports import Clock
from portcullis.core.spiffe import SpiffeId
from portcullis.gateway.admission import Refused
from portcullis.gateway.http import App, Message, Scope, Send, send_json
from portcullis.gateway.live import Connection, Live
from portcullis.gateway.relay import RELAYED, read_frame
from portcullis.gateway.relay_ways import PROTOCOL
from portcullis.identity.attest.unix import credentials
from portcullis.wire import relay as wire
from portcullis.wire.json import encode
from portcullis.wire.relay import Head, Kind, Start

log = structlog.get_logger(__name__)

_BACKLOG: Final = 1024
QUIET: Final = 1.0
"""Seconds after which whoever uses what is kept here would have asked again."""
_LOOK: Final = 0.05
_LAST: Final = 0.02


class Door:
    """The socket of the gateway ``name`` in ``folder``, and what a listener has ``connected``.

    A head may take ``seconds`` to arrive. From other hosts only ``gateway`` may come, by its SPIFFE
    ID; who else does is ``refused``, on record. What one of ``retired`` passes on is dropped.

    At the end what runs may take ``drain_seconds`` more, from ``drain`` on: what others ask for
    meanwhile is served, for as long as they do and while this gateway is ``busy`` with what others
    may still ask for.
    """

    def __init__(
        self,
        app: App,
        name: str,
        folder: Path,
        key: bytes,
        *,
        gateway: SpiffeId,
        refused: Refused,
        live: Live,
        clock: Clock,
        seconds: float,
        drain_seconds: float,
        busy: Callable[[], bool],
        retired: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._app = app
        self._name = name
        self._folder = folder
        self._key = key
        self._gateway = gateway
        self._refused = refused
        self._live = live
        self._clock = clock
        self._seconds = seconds
        self._drain_seconds = drain_seconds
        self._busy = busy
        self._retired = retired
        self.draining = False
        self._asked_at = -math.inf
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
            self.drain()
            await self._quiet()
            (self._folder / f"{self._name}.sock").unlink(missing_ok=True)
            await asyncio.sleep(_LAST)  # whoever has found it is let in
            server.close()
            if self._running:
                await asyncio.wait(self._running, timeout=self._left())
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def drain(self) -> None:
        """From now on, what runs has ``drain_seconds``, whether the socket is closed or not."""
        if not self._until:
            self._until = asyncio.get_running_loop().time() + self._drain_seconds

    def _left(self) -> float:
        return max(0.0, self._until - asyncio.get_running_loop().time())

    async def _quiet(self) -> None:
        """Return when nobody has asked for a while, or when the time is over."""
        loop = asyncio.get_running_loop()
        while self._left():
            asked = self._asked_at + QUIET > loop.time()
            if not (asked or self._running or self._busy()):
                return
            await asyncio.sleep(min(_LOOK, self._left()))

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

    @property
    def running(self) -> int:
        """How many requests of other gateways there are."""
        return len(self._running)

    async def connected(
        self, reader: StreamReader, writer: StreamWriter, connection: Connection
    ) -> None:
        """Serve a connection from another host, whose certificate was verified."""
        peer = connection.peer
        tls = writer.get_extra_info("ssl_object")
        if peer is not None and peer.id == self._gateway:
            if tls.selected_alpn_protocol() == PROTOCOL:
                await self._serve_one(reader, writer)
            writer.close()
            return
        host, port = writer.get_extra_info("peername")[:2]
        name = "" if peer is None else str(peer.id)
        problem = Problem("PC7051", "only gateways of this deployment pass requests on")
        self._refused(problem, f"{host}:{port}", principal=name)
        writer.transport.abort()

    async def _enter(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a connection of this machine, if it is of the same user."""
        try:
            same = credentials(writer.get_extra_info("socket"))[1] == os.geteuid()
        except Problem:
            same = False
        if same:
            await self._serve_one(reader, writer)
        else:
            log.warning("relay_refused", reason="another user")
        writer.close()

    async def _serve_one(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            head = await self._admitted(reader, _Sending(writer))
            if head is not None:
                await self._serve(head, reader, writer)
        except (OSError, EOFError):
            log.info("relay_left")
        finally:
            self._asked_at = asyncio.get_running_loop().time()

    async def _admitted(self, reader: StreamReader, send: Send) -> Head | None:
        """The head of a request that a gateway has passed on; what comes from others is dropped.

        A gateway whose heads cannot be read here is told so.
        """
        try:
            async with asyncio.timeout(self._seconds):
                kind, content = await read_frame(reader)
            if kind is not Kind.HEAD:
                raise Problem("PC7051", "no head")
            return self._expected(content)
        except (Problem, TimeoutError) as error:
            log.warning("relay_refused", reason=getattr(error, "detail", "too slow"))
            if isinstance(error, Problem) and error.code == STRANGE:
                await send_json(send, error.status, encode(error.document()))
            return None

    def _expected(self, content: bytes) -> Head:
        """A head for this gateway, by one that still is one. Raises Problem."""
        head = wire.open_head(content, self._key, to=self._name, now=self._clock.now())
        if head.by in self._retired():
            raise Problem("PC7051", f"it was passed on by {head.by}, which is retired")
        return head

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
