"""What the commands share that serve until they are stopped: ``up``, ``control``, ``gateway``."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from threading import Thread
from typing import Any, TypeVar

from portcullis import bootstrap
from portcullis.bootstrap.background import background
from portcullis.bootstrap.mended import mended
from portcullis.cli.operate import PATIENCE_SECONDS, running_gate
from portcullis.config import Config
from portcullis.control.console.guard import own_url
from portcullis.core.errors import Problem

T = TypeVar("T")
AGAIN_SECONDS = 0.05
"""How soon whoever waits for the control tries again: a fraction of any lease."""


def say(line: str, name: str = "") -> None:
    """A line for people; ``name`` is the gateway's, where several share the terminal."""
    sys.stderr.write(f"{name}: {line}\n" if name else f"{line}\n")
    sys.stderr.flush()


def where(urls: Mapping[str, str], name: str = "") -> None:
    """Say what listens where."""
    for listener, url in urls.items():
        say(f"{listener:9} {url}", name)


def serves(config: Config, gate: bootstrap.Gate) -> None:
    """Say what agents and operators find there, and where it is recorded."""
    if config.console.enabled and "control" in gate.urls:
        place = config.console.origin or own_url(gate.control_url, config.console.name)
        say(f"console   {place}/ (a link that logs in: portcullis console)")
    for shape in sorted({upstream.shape for upstream in config.models.values()}):
        say(f"serves    /{shape}{'/v1' * (shape == 'openai')}")
    for server in (*config.mcp, *config.tools):
        say(f"serves    /mcp/{server}")
    for toolset in config.guard:
        say(f"serves    /v1/calls ({toolset})")
    if gate.workload is not None:
        say(f"workload  unix:{gate.workload.resolve()}")
    say(f"log       {gate.audit_directory}")


class Stopped(Exception):  # noqa: N818 - it says what happened
    """It was to end before it had begun."""


class Stop:
    """SIGTERM and SIGINT, from now on; and, for one that is ``tied``, the end of standard input.

    That many seconds after the latter the process is killed, whatever it is doing: nobody is there
    any more who would. ``name`` is a gateway's, where several share the terminal.
    """

    def __init__(self, name: str = "", *, tied: float | None = None) -> None:
        self._name = name
        self._asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._asked.set)
        if tied is not None:
            Thread(target=self._tied, args=(tied,), name="tied", daemon=True).start()

    async def before(self, start: Awaitable[T]) -> T:
        """Start something; ``Stopped``, with what was begun undone, when it is to end before."""
        task, asked = asyncio.current_task(), asyncio.ensure_future(self._asked.wait())

        def cancel(_: asyncio.Future[Any]) -> None:
            if task is not None:
                task.cancel()

        asked.add_done_callback(cancel)
        try:
            return await start
        except asyncio.CancelledError:
            if task is None or not self._asked.is_set():
                raise
            task.uncancel()
            raise Stopped from None
        finally:
            asked.remove_done_callback(cancel)
            asked.cancel()

    async def wait(
        self,
        gate: bootstrap.Gate,
        *,
        reload: Callable[[], None] | None = None,
        renew: Callable[[], None] | None = None,
    ) -> None:
        """Return when ``gate`` is to end; until then, SIGHUP reloads and SIGUSR2 calls ``renew``.

        It ends, too, when its log failed and could be written again: then it has to begin anew.
        """
        self._loop.add_signal_handler(signal.SIGHUP, reload or gate.reload_policy)
        if renew is not None:
            self._loop.add_signal_handler(signal.SIGUSR2, renew)
        async with background(self._mended(gate)):
            await self._asked.wait()
        say("draining", self._name)

    async def _mended(self, gate: bootstrap.Gate) -> None:
        await mended(gate.services.recorder, gate.audit_directory)
        say("the log can be written again: this process ends, to be started again", self._name)
        self._asked.set()

    def _tied(self, seconds: float) -> None:
        """On a thread of its own, which a loop that hangs does not hold up."""
        while os.read(sys.stdin.fileno(), 4096):
            pass
        with contextlib.suppress(RuntimeError):  # the loop is closed: it ends already
            self._loop.call_soon_threadsafe(self._asked.set)
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)


def settle() -> None:
    """Take the open files that we may have, and tell the garbage collector what stays.

    Each connection is a file; a call makes few cycles.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


async def patiently(
    stack: contextlib.AsyncExitStack,
    config: Config,
    start: Callable[[], contextlib.AbstractAsyncContextManager[bootstrap.Gate]],
    *,
    wait: bool = False,
) -> bootstrap.Gate:
    """Start what rules; a command that has the log open gets time to finish, another gate not.

    With ``wait`` it stands by for as long as another rules.
    """
    until = math.inf if wait else time.monotonic() + PATIENCE_SECONDS
    said = not wait
    while True:
        try:
            return await stack.enter_async_context(start())
        except Problem as problem:
            if problem.code != "PC6003":
                raise
            if not said:
                say("stands by: another process has the control")
                said = True
            other = None if wait else running_gate(config)
            if other is not None:
                what = f"process {other.pid}, {other.gate or other.control}"
                raise Problem("PC6003", f"a gate runs here already: {what}") from None
            if time.monotonic() > until:
                raise
        await asyncio.sleep(AGAIN_SECONDS)
