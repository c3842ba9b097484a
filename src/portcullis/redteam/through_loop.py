"""An event loop beside a caller that knows of none: the replay is a plain program."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from threading import Thread
from typing import Any, TypeVar

_T = TypeVar("_T")


class Loop:
    """Runs what it is given, in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="through", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait for the result; raises what the work raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @contextlib.contextmanager
    def entered(self, context: AbstractAsyncContextManager[_T]) -> Iterator[_T]:
        """Enter and leave an asynchronous context, both in one task."""
        ready: concurrent.futures.Future[_T] = concurrent.futures.Future()
        stop = asyncio.Event()

        async def live() -> None:
            try:
                async with context as value:
                    ready.set_result(value)
                    await stop.wait()
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        living = asyncio.run_coroutine_threadsafe(live(), self._loop)
        try:
            yield ready.result()
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            living.result()

    def close(self) -> None:
        """End what libraries left running, and the thread."""
        self.run(_ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _ended() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
