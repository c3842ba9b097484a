"""The launcher's word to the bridge: signals for the agent, over one connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from portcullis.core.errors import Problem
from portcullis.execution.launch.bridge import GO, READY

READY_SECONDS: Final = 20.0
"""So long the bridge may take to say that it stands."""


class Control:
    """The connection; it is made by the first thing that runs in the box, before the agent does.

    What the bridge says is not trusted: nothing is read of it but that it is ready.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._writer: asyncio.StreamWriter | None = None

    async def ready(self) -> None:
        """Wait until the bridge stands; from then on nothing else can connect.

        Raises Problem PC5046 when it does not.
        """
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        try:
            async with asyncio.timeout(READY_SECONDS):
                accepted, _ = await loop.sock_accept(self._listener)
                reader, self._writer = await asyncio.open_connection(sock=accepted, limit=64)
                said = await reader.readexactly(len(READY))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise Problem("PC5046", f"it did not begin ({type(error).__name__})") from None
        finally:
            self._listener.close()
        if said != READY:
            raise Problem("PC5046", "it said something else than that it is ready")

    def go(self) -> None:
        """Have the agent started."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(GO)

    def signal(self, number: int) -> None:
        """Have the agent's process group get a signal."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(b"%d\n" % number)

    def close(self) -> None:
        """End the connection, and with it the bridge."""
        with contextlib.suppress(OSError):
            self._listener.close()
        if self._writer is not None:
            self._writer.transport.abort()
