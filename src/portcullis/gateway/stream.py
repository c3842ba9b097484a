"""The parts of a streamed answer: what belongs together, what is held back, what is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from portcullis.core.call import Context, Result
from portcullis.core.errors import Problem
from portcullis.core.trace import Span
from portcullis.gateway.http import Request, send_head
from portcullis.gateway.outcome import Outcome
from portcullis.wire.model import Frame, ModelRequest, Shape

_STREAM_HEAD: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)


LEAST: Final = 256
"""Bytes that an event counts for at least while it waits: it takes memory, however short it is."""


def weight(frame: Frame) -> int:
    """What a frame that waits counts for."""
    return max(len(frame.data), LEAST * frame.events)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One allowed call on its way: who asked, what was decided, in which shape.

    ``status`` and ``waited`` are those of the upstream's answer, once it has begun: see Result.
    """

    request: Request
    context: Context
    outcome: Outcome
    shape: Shape
    asked: ModelRequest
    status: int = 0
    waited: float = 0.0
    told: Sequence[tuple[bytes, bytes]] = ()
    """Headers of our own for its answer."""
    span: Span | None = None
    """The asking of the upstream, of a call that is traced."""

    def heard(self) -> None:
        """The upstream has said all."""
        if self.span is not None:
            self.span.end()


class HeldBack:
    """Frames in order; those of an incomplete tool call wait until it is whole.

    ``feed`` returns the bytes that may go out now and raises Problem PC5004 when more than
    ``limit`` bytes wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self.frames = 0

    def feed(self, frames: Iterable[Frame]) -> bytes:
        """Take frames, give back what is ready."""
        ready: list[bytes] = []
        for frame in frames:
            self.frames += frame.events
            self._held.append(frame.data)
            self._size += weight(frame)
            if not frame.held:
                ready += self._held
                self._held, self._size = [], 0
            elif self._size > self._limit:
                limit = f"more than {self._limit} bytes of one tool call in a stream"
                raise Problem("PC5004", limit)
        return b"".join(ready)

    def rest(self) -> bytes:
        """What still waits when the stream has ended well."""
        return b"".join(self._held)

    def summary(self, result: Result) -> Result:
        """The decoder's result as the client got it."""
        return msgspec.structs.replace(result, chunks=self.frames)


class StreamOut:
    """The client's side of a stream; the head goes out with the first piece."""

    def __init__(self, request: Request, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._send = request.send
        self._headers = headers
        self.started = False

    async def send(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece; ``last`` ends the answer."""
        if not self.started:
            self.started = True
            await send_head(self._send, 200, (*_STREAM_HEAD, *self._headers))
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
