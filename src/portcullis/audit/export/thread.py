"""A thread with an event loop of its own, for all exporters of one log.

The gate's loop never waits for it. What it costs the gate is the time in which it computes, and
it computes in slices of less than a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from threading import Thread
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

_STOP_SECONDS: Final = 2.0
_Found = TypeVar("_Found")
_Given = TypeVarTuple("_Given")


class Work(Protocol):
    """What a thread of exporters runs: until it is cancelled, and then its ``close``."""

    async def run(self) -> None: ...  # noqa: D102 - see above
    async def close(self) -> None: ...  # noqa: D102 - see above


class ExportThread:
    """Runs exporters until ``close``, which waits for the thread at most two seconds.

    A delivery that is under way then is given up: it is made again by the next process.
    """

    def __init__(self, exporters: Sequence[Work], name: str = "audit-export") -> None:
        self._exporters = exporters
        self._loop = _Loop()
        self._work: asyncio.Future[list[None]] | None = None
        self._closing = False
        self._thread = Thread(target=self._run, name=name, daemon=True)
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


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose blocking work is waited for neither when it is cancelled nor at the exit.

    A thread of a pool would be joined at the exit, however long a peer or a resolver takes.
    """

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Given], _Found], *args: *_Given
    ) -> asyncio.Future[_Found]:
        """Run a function in a daemon thread of its own."""
        del executor
        future: asyncio.Future[_Found] = self.create_future()

        def work() -> None:
            try:
                found = func(*args)
            except Exception as error:  # noqa: BLE001 - it is whoever waits that handles it
                self._tell(_fail, future, error)
            else:
                self._tell(_settle, future, found)

        Thread(target=work, name="audit-export-work", daemon=True).start()
        return future

    def _tell(self, settle: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self.call_soon_threadsafe(settle, *args)


def _settle(future: asyncio.Future[_Found], found: _Found) -> None:
    if not future.done():
        future.set_result(found)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
