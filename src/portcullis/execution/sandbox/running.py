"""A box that runs as processes of this machine: how it ends, and that all of it does."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from portcullis.core.sandbox import Ended, Ending, Hold
from portcullis.execution.sandbox.cgroups import Group
from portcullis.execution.sandbox.launch import Launched

_SIGNALLED: Final = 128
_GONE_SECONDS: Final = 5.0


class ProcessBox:
    """A ``core.sandbox_ports.Box``. To be made in the loop in which it is waited for.

    ``first`` is a descriptor (pidfd) of the first process in the box, which takes all others
    with it; ``sweep`` takes away what the adapter made for it.
    """

    def __init__(
        self,
        launched: Launched,
        enforced: frozenset[Hold],
        *,
        group: Group | None,
        seconds: float | None,
        first: int | None = None,
        scratch: int | None = None,
        sweep: Callable[[], None] = lambda: None,
    ) -> None:
        self._launched, self._enforced = launched, enforced
        self._group, self._first, self._sweep = group, first, sweep
        self._scratch = scratch
        self._pid = launched.started.result(0)
        self._why: Ending | None = None
        self._closing: asyncio.Task[None] | None = None
        self._ended = asyncio.ensure_future(self._watch())
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._late) if seconds is not None else None

    @property
    def pid(self) -> int:
        """The process of ours that stands for it."""
        return self._pid

    @property
    def enforced(self) -> frozenset[Hold]:
        """What really holds it."""
        return self._enforced

    @property
    def scratch(self) -> int | None:
        """A descriptor of its /scratch, until it is closed."""
        return self._scratch

    async def wait(self) -> Ended:
        """Return how it ended, to everyone who asks."""
        return await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """End every process in it; returns when they are gone."""
        self._end(Ending.KILLED)
        await asyncio.shield(self._ended)

    async def close(self) -> None:
        """Kill it and take away its control groups and whatever else was made for it."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self.kill()
        if self._timer is not None:
            self._timer.cancel()
        if self._scratch is not None:
            os.close(self._scratch)
            self._scratch = None
        await asyncio.to_thread(self._clear)

    def _clear(self) -> None:
        if self._group is not None:
            self._group.remove()
        self._sweep()

    def _late(self) -> None:
        self._end(Ending.DEADLINE)

    def _end(self, why: Ending) -> None:
        if self._ended.done() or self._launched.status.done():
            return
        self._why = self._why or why
        self._launched.kill()

    async def _watch(self) -> Ended:
        returned = await asyncio.wrap_future(self._launched.status)
        if self._timer is not None:
            self._timer.cancel()
        status = _SIGNALLED - returned if returned < 0 else returned
        starved = 0 if self._group is None else self._group.out_of_memory()
        await asyncio.to_thread(self._gone)
        if self._why is not None:
            return Ended(why=self._why, status=status)
        if starved and status == _SIGNALLED + signal.SIGKILL:
            return Ended(why=Ending.MEMORY, status=status)
        why = Ending.SIGNALLED if status > _SIGNALLED else Ending.EXITED
        return Ended(why=why, status=status)

    def _gone(self) -> None:
        """Wait until the last process of it is no more, and see to it."""
        if self._group is not None:
            self._group.kill()
        if self._first is None:
            return
        with suppress(OSError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)
        waiting = select.poll()
        waiting.register(self._first, select.POLLIN)
        waiting.poll(_GONE_SECONDS * 1000)
        os.close(self._first)
        self._first = None
