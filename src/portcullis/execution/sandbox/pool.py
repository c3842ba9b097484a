"""Boxes that are ready before anybody asks. Each is used once, ended, and another one made.

A warm box holds an interpreter that has started and waits for its code on a pipe. A claim beyond
those that are ready makes a box then. Nothing of one use is there in the next: it is another box.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
import structlog

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ended, Ending, Mount, Order, Profile
from portcullis.core.sandbox_ports import Box, Sandbox
from portcullis.execution.sandbox.outputs import Bounds, Left, take
from portcullis.execution.sandbox.pipes import Pipes

_log = structlog.get_logger(__name__)
_AGAIN_SECONDS: Final = 5.0
"""After a box could not be made: the next claim that is cold says why."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What every box of a pool is; ``python`` is the interpreter's path in it."""

    title: str
    profile: Profile
    python: str = "/usr/bin/python3"
    environ: Mapping[str, str] = {}
    mounts: tuple[Mount, ...] = ()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What one box is to do: Python ``code``, or ``argv`` where it is not empty.

    ``files`` are written below its working directory first, ``stdin`` is its standard input.
    ``wanted`` are the files to take when it has ended (None: all there are but those that were
    given). ``output`` bounds standard output and standard error, each, in bytes; what is beyond
    is dropped. ``seconds`` after the claim, the box is ended.
    """

    title: str
    code: str = ""
    argv: tuple[str, ...] = ()
    stdin: bytes = b""
    files: Mapping[str, bytes] = {}
    environ: Mapping[str, str] = {}
    seconds: float = 30
    output: int = 65_536
    wanted: tuple[str, ...] | None = ()
    bounds: Bounds = Bounds()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``cut`` says that output was dropped; ``left`` which files were, and why."""

    ended: Ended
    stdout: bytes
    stderr: bytes
    cut: bool
    files: Mapping[str, bytes]
    left: Mapping[str, Left]


class _Warm:
    """A box that waits for its task."""

    def __init__(self, box: Box, pipes: Pipes) -> None:
        self.box, self.pipes = box, pipes
        self.ended = asyncio.ensure_future(box.wait())

    async def close(self) -> None:
        """End it, and everything that was made for it."""
        await self.box.close()
        self.pipes.close()


class Pool:
    """``size`` boxes by ``recipe``; ``claimed`` is told of each claim before anything runs in it.

    ``run`` raises the Problems of ``Sandbox.start`` and whatever ``claimed`` raises. It may be
    cancelled: the box is then ended at once.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        recipe: Recipe,
        size: int,
        *,
        claimed: Callable[[str, Box], None] = lambda _title, _box: None,
    ) -> None:
        self._sandbox, self._recipe, self._size = sandbox, recipe, size
        self._claimed = claimed
        self._ready: deque[_Warm] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._making = 0
        self._rest = 0.0
        self._closed = False

    @property
    def ready(self) -> int:
        """How many boxes wait."""
        return len(self._ready)

    async def open(self) -> None:
        """Fill it; returns when it is full, or when a box could not be made."""
        self._refill()
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """End every box that waits, and wait for those that are being ended."""
        self._closed = True
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._ready:
            await self._ready.popleft().close()

    async def run(self, task: Task) -> Outcome:
        """Run one task in a box of its own."""
        if self._closed:
            raise Problem("PC5013", "its pool of boxes is closed")
        warm = self._take() or await self._made()
        try:
            self._claimed(task.title, warm.box)
            return await self._run(warm, task)
        finally:
            self._later(warm.close())
            self._refill()

    async def _run(self, warm: _Warm, task: Task) -> Outcome:
        why: Ending | None = None
        try:
            async with asyncio.timeout(task.seconds):
                ended = await warm.pipes.exchange(_frame(task), task.output, warm.ended)
        except TimeoutError:
            await warm.box.kill()
            ended, why = await warm.box.wait(), Ending.DEADLINE
        if why is not None:
            ended = Ended(why=why, status=ended.status)
        files: Mapping[str, bytes] = {}
        left: Mapping[str, Left] = {}
        place = warm.box.scratch
        if place is not None and task.wanted != ():
            taken = await asyncio.to_thread(take, place, task.wanted, task.bounds)
            files, left = taken.files, taken.left
            if task.wanted is None:
                given = task.files
                files = {name: text for name, text in files.items() if given.get(name) != text}
        stdout, stderr, cut = warm.pipes.taken()
        return Outcome(ended=ended, stdout=stdout, stderr=stderr, cut=cut, files=files, left=left)

    def _take(self) -> _Warm | None:
        while self._ready:
            warm = self._ready.popleft()
            if not warm.ended.done():
                return warm
            self._later(warm.close())
        return None

    async def _made(self) -> _Warm:
        making = asyncio.ensure_future(self._make())
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            self._later(_unwanted(making))
            raise

    async def _make(self) -> _Warm:
        recipe = self._recipe
        order = Order(
            title=recipe.title,
            argv=(recipe.python, "-I", "-c", _runner()),
            profile=recipe.profile,
            environ=recipe.environ,
            mounts=recipe.mounts,
        )
        pipes = Pipes()
        try:
            box = await self._sandbox.start(order, pipes.streams)
        except BaseException:
            pipes.close()
            raise
        pipes.started()
        return _Warm(box, pipes)

    def _refill(self) -> None:
        if asyncio.get_running_loop().time() < self._rest:
            return
        for _ in range(self._size - len(self._ready) - self._making):
            self._making += 1
            self._later(self._fill())

    async def _fill(self) -> None:
        try:
            if not self._closed:
                self._ready.append(await self._make())
        except Problem as problem:
            self._rest = asyncio.get_running_loop().time() + _AGAIN_SECONDS
            _log.warning("no warm box", code=problem.code, pool=self._recipe.title)
        finally:
            self._making -= 1

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _unwanted(making: asyncio.Future[_Warm]) -> None:
    with suppress(Problem):
        await (await making).close()


def _frame(task: Task) -> bytes:
    said = {
        "code": task.code,
        "argv": list(task.argv),
        "stdin": base64.b64encode(task.stdin).decode(),
        "files": {name: base64.b64encode(text).decode() for name, text in task.files.items()},
        "environ": dict(task.environ),
    }
    body = msgspec.json.encode(said)
    return len(body).to_bytes(8, "big") + body


@cache
def _runner() -> str:
    return files("portcullis.execution.sandbox").joinpath("runner.py").read_text("utf-8")
