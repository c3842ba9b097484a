"""Work that blocks, in a thread of its own.

The loop's few threads are everybody's: a name that does not resolve, or a receiver that does not
read, would keep a kill waiting there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")


async def in_thread(work: Callable[[], _T]) -> _T:
    """What it returns or raises. Nothing waits for the thread when the process ends.

    Who is cancelled leaves it to itself.
    """
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    found: list[_T] = []
    faults: list[Exception] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            faults.append(error)
        with contextlib.suppress(RuntimeError):  # the loop is gone, and whoever waited
            loop.call_soon_threadsafe(done.set)

    Thread(target=run, name="notify", daemon=True).start()
    await done.wait()
    for fault in faults:
        raise fault
    return found[0]
