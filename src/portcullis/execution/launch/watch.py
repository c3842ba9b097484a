"""The end of an identity, seen at once: the gate cuts an idle connection when it cuts us off."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from portcullis.client.gate import Gate
from portcullis.core.errors import Problem

_ASK_SECONDS: Final = 30.0
"""Between two questions; the gate keeps a connection without one for 75 s."""
_ANSWER_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.1, 5.0
"""Before another connection is made: at first, and at most."""
_LOST: Final = (
    *(Problem, OSError, TimeoutError),
    *(asyncio.IncompleteReadError, asyncio.LimitOverrunError),
)
_QUESTION: Final = b"GET /v1/bundle HTTP/1.1\r\nhost: %s\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d{1,7})\r\n", re.IGNORECASE)


class Watch:
    """``ended`` is since when the gate does not let us in (monotonic clock), 0 while it does."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._wait = _AGAIN_SECONDS[0]
        self.ended = 0.0

    async def run(self) -> NoReturn:
        """Hold a connection under the newest SVID; have the gate asked whenever it ends.

        ``Gate.cut_off`` finds out what the end means: a gate that starts anew ends them too.
        """
        while True:
            with contextlib.suppress(*_LOST):
                await self._hold(urlsplit(self._gate.url))
            self.ended = self.ended or time.monotonic()
            self._gate.doubt()
            await asyncio.sleep(self._wait)
            self._wait = min(2 * self._wait, _AGAIN_SECONDS[1])

    async def _hold(self, where: SplitResult) -> None:
        """Return when the gate ends the connection; raises when there is none, or it is lost."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(
                where.hostname, where.port, ssl=self._gate.link().context
            )
        try:
            while True:
                writer.write(_QUESTION % where.netloc.encode("ascii"))
                async with asyncio.timeout(_ANSWER_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = _LENGTH.search(head)
                    await reader.readexactly(int(length[1]) if length else 0)
                self._wait, self.ended = _AGAIN_SECONDS[0], 0.0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ASK_SECONDS):
                        await reader.read(1)  # nothing was asked: this can only be the end
                        return
        finally:
            writer.transport.abort()
