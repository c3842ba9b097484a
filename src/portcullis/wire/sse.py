"""Server-sent events, both directions, without I/O (WHATWG HTML, section 9.2.6).

Comments are dropped (keep-alives are each hop's own business), unknown fields are ignored and an
event that the stream's end cuts off is discarded, as the specification says. Stricter than it in
one point: bytes that are not UTF-8 are refused instead of replaced, because what is forwarded
must be what was read.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from portcullis.core.errors import Problem

MAX_EVENT: Final = 4 * 2**20
"""Default bound in bytes on one event, fields and all."""
KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A comment: every client ignores it."""

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END = re.compile(r"\r\n|\r|\n")


class ServerSentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. ``event`` is empty when the stream named no type (then it is ``message``).

    ``id`` is the last event id in force when the event was dispatched, empty when none was sent.
    """

    data: str
    event: str = ""
    id: str = ""


class SSEParser:
    """Turns bytes, cut anywhere, into events. One parser reads one stream.

    ``retry`` is the reconnection time in milliseconds that the peer asked for, or None;
    ``last_id`` is the id to resume after.
    """

    __slots__ = ("_after_cr", "_data", "_event", "_first", "_limit", "_size", "_tail",
                 "last_id", "retry")  # fmt: skip

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._size = 0
        self._data: list[str] = []
        self._event = ""
        self._first = True
        self._after_cr = False
        self.last_id = ""
        self.retry: int | None = None

    @property
    def between(self) -> bool:
        """Whether the next byte is the first of an event."""
        return not (self._tail or self._size or self._event or self._after_cr or self._first)

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes, return the events that they complete, in order.

        Raises Problem PC5003 (not UTF-8) or PC5004 (an event of more than ``limit`` bytes);
        after that the parser must not be used again.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in chunk:
            self._tail += chunk
            self._bound(len(self._tail))
            return []
        lines = (bytes(self._tail) + chunk).split(b"\n") if self._tail else chunk.split(b"\n")
        self._tail = bytearray(lines.pop())
        events: list[ServerSentEvent] = []
        for line in lines:
            if line or self._first:
                self._field(line)
            if not line:
                self._dispatch(events)
        self._bound(len(self._tail))
        return events

    def _bound(self, pending: int) -> None:
        if self._size + pending > self._limit:
            raise Problem("PC5004", f"one stream event exceeds {self._limit} bytes")

    def _field(self, line: bytes) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line or line.startswith(b":"):
            return
        self._size += len(line)
        self._bound(0)
        try:
            name, _, value = line.decode("utf-8").partition(":")
        except UnicodeDecodeError:
            raise Problem("PC5003", "the event stream is not valid UTF-8") from None
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id":
            if "\0" not in value:
                self.last_id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) < 10:  # noqa: PLR2004 - beyond 11 days it is nonsense
            self.retry = int(value)

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
            events.append(ServerSentEvent(data=data, event=self._event, id=self.last_id))
            self._data = []
        self._event = ""
        self._size = 0


def encode(data: bytes, event: str = "", event_id: str = "") -> bytes:
    """The bytes of one event; reading them back gives the same event.

    ``data`` is UTF-8; each of its lines (it may hold any line ends) becomes a data field.
    Raises ValueError when ``event`` or ``event_id`` holds a line end or NUL.
    """
    head = b""
    for name, value in (("event", event), ("id", event_id)):
        if value:
            if "\n" in value or "\r" in value or "\0" in value:
                raise ValueError(name)
            head += f"{name}: {value}\n".encode()
    if b"\n" in data or b"\r" in data:
        lines = _LINE_END.split(data.decode("utf-8"))
        return head + "".join(f"data: {line}\n" for line in lines).encode() + b"\n"
    return b"%bdata: %b\n\n" % (head, data)
