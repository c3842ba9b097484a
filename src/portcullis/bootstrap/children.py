"""Child processes that are kept running: started, watched, started again, ended.

Each child has the reading end of a pipe as its standard input, whose writing end nobody else has:
however the parent ends, the child reads its end and drains. A signal (PR_SET_PDEATHSIG) would come
when the thread that forked ends, be missed by a child that is still starting, and leave no time to
drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import structlog

BACK_OFF: Final = (0.25, 30.0)
"""Seconds before a child is started again: at first, doubled each time, and at most."""
STEADY_SECONDS: Final = 60.0
"""One that has run for so long begins anew."""
PORTCULLIS: Final = (sys.executable, "-P", "-c", "from portcullis.cli import main; main()")

log = structlog.get_logger(__name__)


class Children(ABC):
    """One child for each of ``names``; ``kind`` is what they are to people and in logs."""

    def __init__(self, kind: str, names: Sequence[str]) -> None:
        self._kind = kind
        self._names = tuple(names)
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._ending = asyncio.Event()
        self._renewed: set[str] = set()

    @abstractmethod
    async def _begin(self, name: str) -> asyncio.subprocess.Process:
        """Start one, with a pipe as its standard input. Raises OSError."""

    @abstractmethod
    def _say(self, what: str, said: dict[str, Any]) -> None:
        """It came to a ``start`` or an ``end``."""

    @abstractmethod
    def _seconds(self, name: str) -> float:
        """After so long one that was told to end has ended, or hangs."""

    @abstractmethod
    def _over(self, name: str) -> None:
        """See to what one left behind that has ended."""

    async def run(self) -> None:
        """Keep all of them running, until ``end``; cancelled, end them at once."""
        try:
            async with asyncio.TaskGroup() as group:
                for name in self._names:
                    group.create_task(self._keep(name))
        finally:
            for child in self._children.values():
                signalled(child, signal.SIGKILL)

    async def end(self) -> None:
        """Have all of them drain; return when none runs, after a bounded time in any case."""
        self._ending.set()
        for child in self._children.values():
            signalled(child, signal.SIGTERM)
        waiting = [self._ended(name, child) for name, child in self._children.items()]
        await asyncio.gather(*waiting)

    async def _ended(self, name: str, child: asyncio.subprocess.Process) -> None:
        """Wait for its end, which has a bound."""
        try:
            async with asyncio.timeout(self._seconds(name)):
                await child.wait()
        except TimeoutError:
            _noted("child_killed", **{self._kind: name})
            signalled(child, signal.SIGKILL)
            await child.wait()

    async def _keep(self, name: str) -> None:
        wait, most = BACK_OFF
        loop = asyncio.get_running_loop()
        while not self._ending.is_set():
            began = loop.time()
            child = await self._started(name)
            if child is None:
                wait = await self._rest(wait, most)
                continue
            self._children[name] = child
            self._say("start", {self._kind: name, "process": child.pid})
            if self._ending.is_set():
                signalled(child, signal.SIGTERM)
            status = await child.wait()
            del self._children[name]
            self._over(name)
            ended = {self._kind: name, "process": child.pid, "status": _status(status)}
            if self._ending.is_set():
                self._say("end", ended)
                return
            if name in self._renewed:
                self._renewed.discard(name)
                self._say("end", ended)
                continue
            if loop.time() - began > STEADY_SECONDS:
                wait = BACK_OFF[0]
            _noted("child_ended", **ended, again_seconds=wait)
            self._say("end", ended | {"again_seconds": wait})
            wait = await self._rest(wait, most)

    async def _started(self, name: str) -> asyncio.subprocess.Process | None:
        """A new child; None while the system has no room for one."""
        try:
            return await self._begin(name)
        except OSError as error:
            _noted("child_not_started", **{self._kind: name}, fault=error.strerror)
            return None

    async def _rest(self, seconds: float, most: float) -> float:
        """Wait before another start, unless all is to end; how long to wait the next time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        return min(2 * seconds, most)


def signalled(child: asyncio.subprocess.Process, number: int) -> None:
    """Send it a signal, if it is there still."""
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(number)


def _noted(what: str, **said: Any) -> None:
    """Children are kept running, also when nobody takes our own log."""
    with contextlib.suppress(OSError):
        log.error(what, **said)


def _status(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
