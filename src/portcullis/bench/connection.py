"""One keep-alive HTTP/1.1 connection of the load generator, without an event loop."""

from __future__ import annotations

import socket
from typing import Final

import httptools

OK: Final = 200
BROKEN: Final = 0
"""The status of an answer that broke off or did not end as it should."""


def request_bytes(port: int, path: str, token: str, body: bytes) -> bytes:
    """A POST of JSON with a bearer token as it goes over the wire (RFC 9112)."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Connection:
    """A socket with at most one call on its way.

    ``due`` is when that call should have begun. ``status`` is None while it is under way, then
    the HTTP status, or BROKEN when its last piece does not end with ``tail`` or the peer closed.
    """

    __slots__ = ("_keep", "_last", "_parser", "_port", "_request", "_tail", "due", "sock", "status")

    def __init__(self, port: int, request: bytes, tail: bytes) -> None:
        self._port = port
        self._request = request
        self._tail = tail
        self.due = 0.0
        self.status: int | None = BROKEN
        self.connect()

    def connect(self) -> None:
        """Open the socket. Raises OSError when nobody listens."""
        self.sock = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
        self._parser = httptools.HttpResponseParser(self)
        self._keep = True

    def send(self, due: float) -> None:
        """Send the call. Raises OSError when it does not fit an empty socket."""
        self.due = due
        self.status = None
        self._last = b""
        if self.sock.send(self._request) != len(self._request):
            msg = "the peer does not read: a request did not fit its socket"
            raise BlockingIOError(msg)

    def receive(self) -> bool:
        """Read what is there; False when the connection cannot be used again."""
        try:
            data = self.sock.recv(262_144)
        except BlockingIOError:
            return True
        except ConnectionError:
            data = b""
        if data:
            self._parser.feed_data(data)
            return self._keep
        if self.status is None:
            self.status = BROKEN
        return False

    @property
    def last(self) -> bytes:
        """The last piece of the answer."""
        return self._last

    def on_body(self, body: bytes) -> None:
        """A piece of the answer (httptools' callback)."""
        self._last = body

    def on_message_complete(self) -> None:
        """The answer is complete (httptools' callback)."""
        status = self._parser.get_status_code()
        whole = status != OK or self._last.endswith(self._tail)
        self.status = status if whole else BROKEN
        self._keep = self._parser.should_keep_alive()
