"""Listening: uvicorn with httptools, bounded heads, and no request that goes unrecorded.

A request that does not arrive within its time, or whose head is too large, is cut; bytes that
are not HTTP/1.1 (RFC 9112), smuggling attempts among them, are answered 400 and recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from portcullis.core.errors import Problem
from portcullis.gateway.http import App
from portcullis.wire.json import encode

MAX_HEAD: Final = 65_536
"""Most bytes of a request's line and headers together."""

Refused = Callable[[Problem, str], Problem]
"""Records a refusal below HTTP, given the peer's address; returns the problem to answer with."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounded requests and recorded refusals.

    A request, head and body, must arrive within ``seconds``; one timer serves the connection.
    Each listener makes a subclass that sets ``refused`` and ``seconds``.
    """

    refused: ClassVar[Refused]
    seconds: ClassVar[float]

    _timer: TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head while it is not complete."""
        if self._timer is None and not self._busy():
            self._await_request()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD:
            self._cut(Problem("PC1011", f"the head is larger than {MAX_HEAD} bytes"))

    def on_headers_complete(self) -> None:
        """The head is complete: what follows is body."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete: stop its clock."""
        self._arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, recorded, as a problem document."""
        del msg  # uvicorn's one sentence says less than the code does
        self._cut(Problem("PC1011", "the bytes are not a well-formed HTTP/1.1 request"))

    def _busy(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        return cycle is not None and not cycle.response_complete

    def _await_request(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._timer = self.loop.call_later(self.seconds, self._too_slow)

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._head_bytes:
            self._cut(Problem("PC1012", f"the request took longer than {self.seconds:g} s"))
        else:
            self.transport.close()

    def _cut(self, problem: Problem) -> None:
        self._arrived()
        if self.transport.is_closing():
            return
        peer = f"{self.client[0]}:{self.client[1]}" if self.client else "unix"
        problem = type(self).refused(problem, peer)
        body = encode(problem.document())
        head = (
            f"HTTP/1.1 {problem.status} Refused\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


class Listener(uvicorn.Server):
    """One listening socket and its application. The process's signals are not its business."""

    def __init__(
        self, app: App, address: str, *, refused: Refused, seconds: float, drain_seconds: float
    ) -> None:
        host, _, port = address.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host.strip("[]"), int(port)))
        except OSError as error:
            self._socket.close()
            raise Problem("PC7001", f"cannot listen on {address}: {error.strerror}") from None
        self._socket.listen(1024)
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        super().__init__(
            uvicorn.Config(
                app,
                http=type(
                    "ListenerProtocol",
                    (BoundedProtocol,),
                    {"refused": staticmethod(refused), "seconds": seconds},
                ),
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, round(drain_seconds)),
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens, with the real port."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the composition root."""
        yield

    async def open(self) -> None:
        """Start to accept connections."""
        self._task = asyncio.create_task(self.serve(sockets=[self._socket]))
        while not self.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        """Stop accepting, let running requests finish within their time, cancel the rest."""
        if self._task is None:
            self._socket.close()
            return
        self.should_exit = True
        await self._task
        tasks: list[asyncio.Task[Any]] = list(self.server_state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=2)
