"""The answer to an MCP request over HTTP: JSON when one message is all, else an event stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from portcullis.core.errors import Problem
from portcullis.gateway.http import Send, send_head, send_json
from portcullis.wire import sse
from portcullis.wire.json import encode

_STREAM_HEAD: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)


class Reply:
    """One HTTP answer. The stream's head goes out with the first event or keep-alive.

    A client that does not read for ``seconds`` is given up: Problem PC5014.
    """

    def __init__(
        self,
        send: Send,
        *,
        seconds: float,
        keep_alive: float,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._send = send
        self._seconds = seconds
        self._keep_alive = keep_alive
        self._headers: tuple[tuple[bytes, bytes], ...] = tuple(headers)
        self._lock = asyncio.Lock()
        self._sent_at = asyncio.get_running_loop().time()
        self.started = False

    def retry(self, seconds: Any) -> None:
        """Say in the head, unless it has gone, when to try again (RFC 9110, section 10.2.3)."""
        if type(seconds) is int and not self.started:
            self._headers += ((b"retry-after", str(seconds).encode("ascii")),)

    async def event(self, message: dict[str, Any], event_id: str = "") -> None:
        """Send one message as an event."""
        await self._write(sse.encode(encode(message), "message", event_id))

    async def idle(self) -> None:
        """Send a keep-alive when nothing was sent for a while; it opens the stream too."""
        if asyncio.get_running_loop().time() - self._sent_at >= self._keep_alive:
            await self._write(sse.KEEP_ALIVE)

    async def open(self) -> None:
        """Open the stream with a keep-alive, so that the client sees that it is there."""
        await self._write(sse.KEEP_ALIVE)

    async def finish(self, message: dict[str, Any], status: int) -> None:
        """Send the last message: as the stream's last event, or as JSON with this status."""
        if self.started:
            await self._write(sse.encode(encode(message), "message"), last=True)
        else:
            self.started = True
            await self._bounded(
                lambda: send_json(self._send, status, encode(message), self._headers)
            )

    async def end(self) -> None:
        """End an open stream without another message."""
        await self._write(b"", last=True)

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        async with self._lock:
            if not self.started:
                self.started = True
                await self._bounded(
                    lambda: send_head(self._send, 200, (*_STREAM_HEAD, *self._headers))
                )
            await self._bounded(
                lambda: self._send(
                    {"type": "http.response.body", "body": data, "more_body": not last}
                )
            )
            self._sent_at = asyncio.get_running_loop().time()

    async def _bounded(self, sending: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await sending()
        except (TimeoutError, OSError):
            raise Problem("PC5014", "the client does not read its answer") from None
