"""What a child process is on this machine: a box, or a process of ours without one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import Final, Protocol

from portcullis.core.sandbox_ports import Box

_GRACE_SECONDS: Final = 1.0
"""How long a process without a box may take to end on SIGTERM."""


class Body(Protocol):
    """``end`` ends it and all that it started, and returns when that is so; never raises."""

    @property
    def pid(self) -> int: ...  # noqa: D102 - see above
    @property
    def status(self) -> int | None: ...  # noqa: D102
    async def wait(self) -> None: ...  # noqa: D102
    async def end(self, *, at_once: bool) -> None: ...  # noqa: D102


class Bare:
    """A process without a box, the first of its session and process group.

    Started by ``subprocess`` and not by the loop: uvloop lets descriptors through to the child.
    What gets away from its group is not ended: that takes a box.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._reap, args=(loop,), daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> None:
        """Wait for the process to end."""
        await self._ended.wait()

    async def end(self, *, at_once: bool) -> None:
        """SIGTERM unless ``at_once``, then SIGKILL to the whole group; then reap."""
        if not at_once and not self._ended.is_set():
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_SECONDS):
                    await self._ended.wait()
        # What the child left behind in its group goes too.
        self._signal(signal.SIGKILL)
        await self._ended.wait()

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the process, in a thread of its own; the loop may be gone by then."""
        self._process.wait()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._ended.set)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


class Boxed:
    """What runs in a box: no process of it gets away."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._status: int | None = None

    @property
    def pid(self) -> int:
        """The process of ours that stands for the box."""
        return self._box.pid

    @property
    def status(self) -> int | None:
        """The exit status as a shell would show it; None before anybody has waited for it."""
        return self._status

    async def wait(self) -> None:
        """Wait for the box to end."""
        self._status = (await self._box.wait()).status

    async def end(self, *, at_once: bool) -> None:
        """Kill whatever is in it and take it away."""
        del at_once
        await self._box.close()
        await self.wait()
