"""Targets that acknowledge nothing themselves: syslog over TLS (RFC 5425), and a file."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import ssl
import struct
import termios
import time
from pathlib import Path
from typing import Final, TypeVar

from portcullis.audit.export.cursor import appending, whole_lines, write_all
from portcullis.audit.export.target import Batch, Unavailable
from portcullis.audit.files import sync_directory

SECONDS: Final = 15.0
"""The longest that a delivery may take: connect, handshake, write, close."""


_Socket = TypeVar("_Socket", bound=socket.socket)


class SyslogTarget:
    """One connection per batch: written, closed, and the peer's own close waited for.

    Syslog has no acknowledgement. A receiver that answers our close_notify with its own, or ends
    the connection in order once its TCP has acknowledged every byte, has had it all to read; one
    that resets the connection gets the batch again.
    """

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None, seconds: float = SECONDS
    ) -> None:
        self._address = (host, port)
        self._tls = tls
        self._seconds = seconds

    async def send(self, batch: Batch) -> None:
        """Deliver a batch; see ``Target``."""
        await asyncio.to_thread(self.deliver, batch.body)

    async def close(self) -> None:
        """Nothing is open between batches."""

    def deliver(self, body: bytes) -> None:
        """The same of so many octets. It blocks."""
        until = time.monotonic() + self._seconds
        try:
            with contextlib.ExitStack() as stack:
                plain = stack.enter_context(socket.create_connection(self._address, self._seconds))
                if self._tls is None:
                    _bounded(plain, until).sendall(body)
                    plain.shutdown(socket.SHUT_WR)
                    _until_closed(plain, until)
                    return
                host = self._address[0]
                _bounded(plain, until)
                secure = stack.enter_context(self._tls.wrap_socket(plain, server_hostname=host))
                _bounded(secure, until).sendall(body)
                _bounded(secure, until)
                _unwrapped(secure)
        except TimeoutError:
            raise Unavailable("no answer in time") from None
        except ssl.SSLCertVerificationError:
            raise Unavailable("not reached: its certificate is not trusted") from None
        except ssl.SSLError:
            raise Unavailable("not reached: the TLS handshake failed") from None
        except OSError as error:
            raise Unavailable(f"not reached: {error.strerror or type(error).__name__}") from None


def _bounded(connection: _Socket, until: float) -> _Socket:
    """The same connection, whose next step ends in time."""
    connection.settimeout(max(0.01, until - time.monotonic()))
    return connection


def _until_closed(connection: socket.socket, until: float) -> None:
    """Read until the peer closes; it has nothing to say, so more than a little is an error."""
    for _ in range(16):
        if not _bounded(connection, until).recv(4096):
            _acknowledged(connection)
            return
    raise Unavailable("the peer does not close")


def _acknowledged(connection: socket.socket) -> None:
    """Raise Unavailable unless the peer's TCP has acknowledged all that was sent (tcp(7))."""
    (waiting,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    if waiting or connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise Unavailable("the peer closed before it had everything")


def _unwrapped(connection: ssl.SSLSocket) -> None:
    """Exchange close_notify."""
    try:
        connection.unwrap()
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        _acknowledged(connection)
    except ssl.SSLError as error:
        if error.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY":
            return  # it talks, which syslog does not; it is alive and has read on
        raise


class FileTarget:
    """Lines appended to a file, on disk when ``send`` returns, rotated by size.

    A batch that would carry the file beyond ``rotate_bytes`` begins a new one; the old ones are
    ``PATH.1`` (the newest) to ``PATH.keep``. Others may write to the same file in the same way, as
    the gate and ``portcullis mcp`` do. A line that a crash cut short is taken away: its
    batch is written again.
    """

    def __init__(self, path: Path, *, rotate_bytes: int, keep: int) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep

    async def send(self, batch: Batch) -> None:
        """Append a batch; see ``Target``."""
        await asyncio.to_thread(self._append, batch.body)

    async def close(self) -> None:
        """Nothing is open between batches."""

    def _append(self, body: bytes) -> None:
        try:
            while not self._written(body):
                pass  # it was rotated
            sync_directory(self._path.parent)
        except OSError as error:
            raise Unavailable(f"not written: {error.strerror}") from None

    def _written(self, body: bytes) -> bool:
        """Append, or rotate a file that would become too large; whether it was appended."""
        file = appending(self._path)
        try:
            end = whole_lines(file)
            if end and end + len(body) > self._rotate_bytes:
                self._rotate()
                return False
            write_all(file, body)
            os.fsync(file)
        finally:
            os.close(file)
        return True

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._named(number).replace(self._named(number + 1))
        self._path.replace(self._named(1))

    def _named(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
