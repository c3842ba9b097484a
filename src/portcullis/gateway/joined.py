"""An answer's head and the first of its body in one write: uvloop makes a system call of each."""

from __future__ import annotations

import asyncio
from typing import Final

_INTERIM: Final = b"HTTP/1.1 100 "
"""How what goes out before the head begins (RFC 9110, 10.1.1): the client waits for it."""


class Joined:
    """The transport of one answer, as uvicorn's cycle uses it.

    The head waits for what follows within the same turn of the loop, and no longer.
    """

    __slots__ = ("_begun", "_head", "_loop", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._head = b""
        self._begun = False

    def write(self, data: bytes) -> None:
        """Write, or keep the head for a moment."""
        if self._head:
            data, self._head = self._head + data, b""
        elif not self._begun and not data.startswith(_INTERIM):
            self._begun, self._head = True, data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close once all has been written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._head and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = b""
