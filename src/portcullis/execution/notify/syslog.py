"""Notices by syslog: RFC 5424 over TLS (RFC 5425), TCP (RFC 6587) or a socket of this machine.

Syslog has no acknowledgement. Over a stream each message has its own connection, and it was taken
when the receiver closes that in order, having read everything (``audit.export.stream``). To a
socket for datagrams it was taken when the system took it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from functools import partial
from pathlib import Path
from typing import Final

from portcullis.audit.export.stream import SyslogTarget
from portcullis.audit.export.target import Unavailable
from portcullis.core.notice import Message
from portcullis.core.notice_ports import Later, Never
from portcullis.execution.notify.threads import in_thread
from portcullis.oversight.notice_syslog import line
from portcullis.wire.syslog import framed

SECONDS: Final = 15.0
"""The longest that one delivery may take."""


class SyslogTeller:
    """Implements ``Teller`` over a connection; ``host`` is by what receivers know this machine."""

    amends = False

    def __init__(self, target: SyslogTarget, host: str, seconds: float = SECONDS) -> None:
        self._target = target
        self._host = host
        self._seconds = seconds

    async def tell(self, message: Message, reference: str) -> str:
        """Send it."""
        del reference
        said = framed([line(message, self._host)])
        try:
            async with asyncio.timeout(self._seconds):  # a name may take long to resolve
                await in_thread(partial(self._target.deliver, said))
        except TimeoutError:
            raise Later("no answer in time", arrived=True) from None
        except Unavailable as error:
            raise Later(str(error), arrived=True) from None
        return message.thread

    async def close(self) -> None:
        """Nothing is kept between two messages."""


class SocketTeller:
    """Implements ``Teller`` for a Unix socket: for datagrams, such as /dev/log, or a stream."""

    amends = False

    def __init__(self, path: Path, host: str, seconds: float = SECONDS) -> None:
        self._path = os.fspath(path)
        self._host = host
        self._seconds = seconds

    async def tell(self, message: Message, reference: str) -> str:
        """Send it."""
        del reference
        await in_thread(partial(self._send, line(message, self._host)))
        return message.thread

    async def close(self) -> None:
        """Nothing is kept between two messages."""

    def _send(self, said: bytes) -> None:
        try:
            try:
                self._datagram(said)
            except OSError as error:
                if error.errno != errno.EPROTOTYPE:
                    raise
                self._stream(framed([said]))
        except TimeoutError:
            raise Later("no answer in time", arrived=True) from None
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise Never("the message is too long") from None
            reason = error.strerror or type(error).__name__
            raise Later(f"not reached: {reason}", arrived=True) from None

    def _datagram(self, said: bytes) -> None:
        with self._opened(socket.SOCK_DGRAM) as connection:
            connection.send(said)

    def _stream(self, said: bytes) -> None:
        """Write, and read until the receiver closes, which it does when it has read all."""
        until = time.monotonic() + self._seconds
        with self._opened(socket.SOCK_STREAM) as connection:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            while True:
                connection.settimeout(max(0.01, until - time.monotonic()))
                if not connection.recv(4096):
                    return
                if time.monotonic() > until:
                    raise TimeoutError

    def _opened(self, kind: socket.SocketKind) -> contextlib.closing[socket.socket]:
        made = socket.socket(socket.AF_UNIX, kind)
        made.settimeout(self._seconds)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            raise
        return contextlib.closing(made)
