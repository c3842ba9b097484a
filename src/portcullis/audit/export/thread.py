"""A thread with an event loop of its own, for all exporters of one log.

The gate's loop never waits for it. What it costs the gate is the time in which it computes, and
it computes in slices of less than a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from threading import Thread
from typing import Final

from portcullis.audit.export.deliver import Exporter

_STOP_SECONDS: Final = 5.0


class ExportThread:
    """Runs exporters until ``close``, which waits for the thread at most five seconds.

    A delivery that is under way then is given up: it is made again by the next process.
    """

    def __init__(self, exporters: Sequence[Exporter]) -> None:
        self._exporters = exporters
        self._loop = asyncio.new_event_loop()
        self._work: asyncio.Future[list[None]] | None = None
        self._closing = False
        self._thread = Thread(target=self._run, name="audit-export", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop. What is not acknowledged stays for the next start."""
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(_STOP_SECONDS)

    def _stop(self) -> None:
        self._closing = True
        if self._work is not None:
            self._work.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._all())
        finally:
            self._loop.close()

    async def _all(self) -> None:
        if self._closing:
            return
        work = asyncio.gather(*(exporter.run() for exporter in self._exporters))
        self._work = work
        try:
            await work
        finally:
            for exporter in self._exporters:
                await exporter.close()
