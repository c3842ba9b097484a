"""HTTP on one connection: uvicorn's protocol with bounded requests, and readers that must read."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from portcullis.core.errors import Problem
from portcullis.gateway.admission import Refused
from portcullis.gateway.joined import Joined
from portcullis.gateway.live import Connection, Live
from portcullis.wire.json import encode

MAX_HEAD: Final = 65_536
"""Most bytes of a request's line and headers together."""
MAX_PIPELINED: Final = 8
"""Most requests that may wait on a connection for the answer to an earlier one."""

KEEP_ALIVE: Final = 75.0
"""Seconds that a connection is kept without a request."""
LEAVING: Final = 1.0
"""The same while the listener is leaving: whoever uses it would have asked again by then."""
_CLOSE_SECONDS: Final = 1.0
"""How long an idle client may take to answer the end of TLS when the gate closes."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounded requests, readers that must read, and recorded refusals.

    A request, head and body, must arrive within ``seconds``; one timer serves the connection.
    What surrounds bodies (heads, trailers) is bounded by ``MAX_HEAD``, and trailers are dropped
    (RFC 9110 section 6.5.1). A peer that leaves more than three quarters of what waits for it
    for ``stalled_seconds`` is dropped: it would hold its call, and our memory, for ever.
    Each listener makes a subclass that sets ``refused``, ``live`` and the seconds.
    ``connection`` is given to it when it comes out of an ``Admission``.
    """

    refused: ClassVar[Refused]
    live: ClassVar[Live]
    seconds: ClassVar[float]
    stalled_seconds: ClassVar[float]

    leaving: ClassVar[bool] = False
    """Whether each answer is the last of its connection, where its head can still say so."""

    _timer: TimerHandle | None = None
    _reader_timer: TimerHandle | None = None
    _begun = False
    _bare = 0
    connection: Connection | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        under_tls = self.connection is not None
        self.connection = self.connection or Connection(transport.abort)
        self._extra: dict[str, Any] = {"portcullis.connection": self.connection}
        if under_tls:
            self._extra["portcullis.peer"] = self.connection.peer
        self._await_request()
        if self.leaving:
            self.leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and end what runs for a client that has left."""
        self._arrived()
        self._stop_watching()
        super().connection_lost(exc)
        if self.connection is not None:
            self.connection.lost()
            self.live.disconnect(self.connection)

    def data_received(self, data: bytes) -> None:
        """Count the bytes since the last that belonged to a body; wait for what is missing."""
        self._bare += len(data)
        super().data_received(data)
        if self._bare > MAX_HEAD:
            self._cut(Problem("PC1011", f"the head is larger than {MAX_HEAD} bytes"))
        elif self._timer is None and (self._begun or (self._bare and not self._busy())):
            self._await_request()  # most requests are here as a whole, and need no clock

    def on_message_begin(self) -> None:
        """A request has begun, whatever else the connection is doing: its clock may start."""
        super().on_message_begin()
        cast("dict[str, Any]", self.scope).update(self._extra)
        self._begun = True

    def on_headers_complete(self) -> None:
        """The head is complete: what follows is body, and trailers that nobody reads.

        The parser takes no body after an Upgrade, so the body would be read as the next request.
        """
        if self.parser.should_upgrade():
            raise ValueError("upgrade")  # the parser stops, and the connection is refused
        super().on_headers_complete()
        self.headers = []
        self.cycle.transport = cast("asyncio.Transport", Joined(self.loop, self.transport))
        if self.leaving or (self.connection is not None and self.live.retired(self.connection)):
            self.cycle.keep_alive = False
        if len(self.pipeline) > MAX_PIPELINED:
            raise ValueError("pipeline")

    def on_body(self, body: bytes) -> None:
        """What arrived was body, which its reader bounds."""
        self._bare = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete: stop its clock, and go on reading to see a client leave."""
        self._begun, self._bare = False, 0
        self._arrived()
        super().on_message_complete()
        if not self.pipeline:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """Watch a peer that reads more slowly than we write."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_watching()

    def on_response_complete(self) -> None:
        """Watch that the peer takes the rest when this was the last answer."""
        lasts = KEEP_ALIVE if self.connection is None else self.live.lasts(self.connection)
        silence = LEAVING if self.leaving else KEEP_ALIVE
        self.timeout_keep_alive = min(silence, max(0.0, lasts))  # type: ignore[assignment]
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_reader()

    def timeout_keep_alive_handler(self) -> None:
        """Close, though the peer may not have read everything, or not answer the end of TLS."""
        super().timeout_keep_alive_handler()
        self._watch_reader()
        if self.leaving and self.scheme == "https":
            self.loop.call_later(_CLOSE_SECONDS, self.transport.abort)

    def leave(self) -> None:
        """Let it go without a request lost: one that is on its way meets no closed socket.

        What is asked on it is answered, and the answer says that it was the last; where nobody
        asks for a while it is closed.
        """
        if self._busy():
            if not self.cycle.response_started:
                self.cycle.keep_alive = False
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            LEAVING, self.timeout_keep_alive_handler
        )

    def shutdown(self) -> None:
        """Nothing more: whoever ends the listener has let it go (uvicorn's method)."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, recorded, as a problem document."""
        del msg  # uvicorn's one sentence says less than the code does
        self._cut(Problem("PC1011", "the bytes are not a well-formed HTTP/1.1 request"))

    def _busy(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        return cycle is not None and not cycle.response_complete

    def _await_request(self) -> None:
        if not self.transport.is_closing():
            self._timer = self.loop.call_later(self.seconds, self._too_slow)

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._begun or self._bare:
            self._cut(Problem("PC1012", f"the request took longer than {self.seconds:g} s"))
        else:
            self.transport.close()
            self._watch_reader()

    def _watch_reader(self) -> None:
        self._stop_watching()
        waiting = self.transport.get_write_buffer_size()
        if waiting:
            self._reader_timer = self.loop.call_later(self.stalled_seconds, self._unread, waiting)

    def _stop_watching(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _unread(self, before: int) -> None:
        if 4 * self.transport.get_write_buffer_size() > 3 * before:
            self.transport.abort()
        else:
            self._watch_reader()

    def _cut(self, problem: Problem) -> None:
        self._arrived()
        if self.transport.is_closing():
            return
        peer = f"{self.client[0]}:{self.client[1]}" if self.client else "unix"
        problem = type(self).refused(problem, peer)
        if self._busy() and (self.pipeline or not self._unanswered()):
            self.transport.abort()  # our refusal would be read as part of another answer
            return
        body = encode(problem.document())
        head = (
            f"HTTP/1.1 {problem.status} Refused\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
        self._watch_reader()

    def _unanswered(self) -> bool:
        """Whether the request that is arriving is the one that is being served."""
        return self.cycle.more_body and not self.cycle.response_started
