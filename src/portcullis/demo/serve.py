"""Serve an ASGI application on loopback inside this process, on a port that is free."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, TypeAlias

import uvicorn

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class _Server(uvicorn.Server):
    """A server that says when it serves, and leaves signals to whoever runs the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.told = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Serve until told to end; the date of answers is that of every second."""
        second = 0
        while not await self.on_tick(10 * second):
            second += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.told.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End at once where nobody is connected."""
        if self.server_state.connections:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
            await server.wait_closed()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: App, *, port: int = 0) -> AsyncIterator[str]:
    """Serve ``app`` at 127.0.0.1 for as long as the context lasts; yields the base URL.

    ``port`` 0 takes a free one. Raises OSError when the port is taken.
    """
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        http="httptools",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    running.add_done_callback(lambda _: server.ready.set())
    try:
        await server.ready.wait()
        if running.done():
            await running
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.told.set()
        await running
        listener.close()


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request; empty when the client has gone."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def answer(
    send: Send, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Send one whole JSON answer."""
    length = (b"content-length", str(len(body)).encode())
    kind = (b"content-type", b"application/json")
    await send(
        {"type": "http.response.start", "status": status, "headers": [kind, length, *headers]}
    )
    await send({"type": "http.response.body", "body": body})
