"""The way out: each connection from the box becomes one to the gate's egress listener.

The box's bytes are HTTP for the gate's proxy, which judges them; here they are carried. What shows
who the agent is, its SVID and its session's token, is added outside the box.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Final

import structlog

from portcullis.client.accepting import accepting
from portcullis.client.connector import Kept
from portcullis.core.errors import Problem
from portcullis.execution.launch.ends import End, carried
from portcullis.execution.launch.entrance import CONNECT_SECONDS, LOST, Entrance, Spares
from portcullis.execution.launch.names import Names

log = structlog.get_logger(__name__)

MOST: Final = 128
"""Most connections at once; another is closed."""
_FIRST_SECONDS: Final = 15
"""So long the box may take to say something on a connection that it made."""
_LAST_SECONDS: Final = 10
"""So long it may take to read the last of what came."""


class Egress:
    """Carries what comes in on a Unix socket to ``url``, under an identity at the gate.

    ``session`` says that it is one within a session: then all that is carried acts in that.
    """

    def __init__(self, gate: Kept, url: str, *, session: bool) -> None:
        self._gate = gate
        self._entrance = Entrance(gate, url, session=session)

    async def authority(self) -> bytes:
        """The root certificate (PEM) of the hosts whose TLS ends at the gate; empty for none.

        Raises Problem PC7011 when the gate does not say.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._entrance.authority()
        except (OSError, TimeoutError, EOFError) as error:
            raise Problem("PC7011", f"the egress listener: {type(error).__name__}") from None

    @contextlib.asynccontextmanager
    async def listening(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve until the block ends; then every connection is cut."""
        loop = asyncio.get_running_loop()
        running: set[asyncio.Task[None]] = set()
        spares = Spares(self._entrance)

        def serve(box: End) -> None:
            if len(running) >= MOST:
                box.transport.abort()
                return
            task = loop.create_task(self._carry(box, spares))
            running.add(task)
            task.add_done_callback(running.discard)

        keeping = loop.create_task(spares.keep())
        try:
            with accepting(listener, lambda: End(serve)):
                yield
        finally:
            for task in (keeping, *running):
                task.cancel()
            await asyncio.gather(keeping, *running, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def naming(self, listener: socket.socket) -> AsyncIterator[None]:
        """Answer questions of DNS (``names``) until the block ends."""
        names = Names(self._entrance, self._gate.doubt)

        def served() -> asyncio.BaseProtocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(), names.serve)

        try:
            with accepting(listener, served):
                yield
        finally:
            await names.close()

    async def _carry(self, box: End, spares: Spares) -> None:
        """Carry one. The gate's end is looked for when there is something to say to it."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_SECONDS):
                    await box.some()
            if box.silent:
                return
            async with asyncio.timeout(CONNECT_SECONDS):
                gate = await spares.taken()
            await carried(box, gate, _LAST_SECONDS)
        except LOST as error:
            log.info("egress_refused", error=getattr(error, "code", type(error).__name__))
            self._gate.doubt()
        finally:
            box.transport.abort()
