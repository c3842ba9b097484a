"""What a release of policy changes, for operators: in words, in its text, and over the log.

It is worked out beside the gate: of small policies on a thread, of large ones and over the log in a
process that has bounds, one at a time. Nothing is changed by it.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from portcullis.control.releases import Releasing
from portcullis.core.errors import Problem
from portcullis.core.release import Release
from portcullis.policy.delivery import sources
from portcullis.review.changes import Changes
from portcullis.review.changes_apart import (
    LARGE,
    Done,
    Job,
    Replayed,
    answer,
    argv,
    done,
    encoded,
    environment,
)

REPLAY_SECONDS: Final = 20.0
"""How long events of the log are read."""
_MOST_SECONDS: Final = 60.0
"""After which the process is ended, whatever it does."""
_WAITING: Final = 4
"""How many comparisons may wait for the one that is made."""
_PATIENCE: Final = 5.0
"""How long a page waits for a comparison."""
_KEPT: Final = 16
"""Comparisons that are remembered: texts of releases never change."""


class Comparing:
    """Compares releases. ``environment`` is the gate's, ``logs`` the folders of all logs."""

    def __init__(
        self, releasing: Releasing, environment: str, logs: Callable[[], tuple[str, ...]]
    ) -> None:
        self._releasing = releasing
        self._environment = environment
        self._logs = logs
        self._known: OrderedDict[tuple[str, str], Changes] = OrderedDict()
        self._comparing = asyncio.Lock()
        self._tasks: dict[tuple[str, str], asyncio.Task[Changes]] = {}
        self._replaying = asyncio.Lock()

    async def changes(self, old: Release, new: Release) -> Changes:
        """What ``new`` changes in ``old``.

        Raises Problem PC7038, PC7002 for a text that this version of the program does not read,
        PC3056 when it takes more than a moment, PC9002 when it took too much.
        """
        key = (old.text, new.text)
        if key not in self._known:
            task = self._tasks.get(key) or self._begin(key, old, new)
            finished, _ = await asyncio.wait({task}, timeout=_PATIENCE)
            if not finished:
                hint = "Load the page again in a moment."
                raise Problem("PC3056", "the two are still being compared", hint=hint)
            return await task
        self._known.move_to_end(key)
        return self._known[key]

    def _begin(self, key: tuple[str, str], old: Release, new: Release) -> asyncio.Task[Changes]:
        """Compare them beside whoever asked: who waits no longer finds it done when he comes back.

        Raises Problem PC3056 when too many wait.
        """
        if len(self._tasks) > _WAITING:
            raise Problem("PC3056", "other releases are being compared")
        task = self._tasks[key] = asyncio.create_task(self._compare(key, old, new))

        def over(task: asyncio.Task[Changes]) -> None:
            del self._tasks[key]
            if not task.cancelled():
                task.exception()  # it is whoever asks next that is told

        task.add_done_callback(over)
        return task

    async def _compare(self, key: tuple[str, str], old: Release, new: Release) -> Changes:
        async with self._comparing:
            told = await self._done(await self._job(old, new))
        found = self._known[key] = told.changes or Changes()
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return found

    async def replay(
        self, old: Release, new: Release, since: float | None, agents: frozenset[str]
    ) -> Replayed:
        """Which decisions of the log would be others by ``new`` than by ``old``.

        No sealed content is read. Raises Problem PC3056 while another one runs, PC7038, PC7002,
        PC7005, PC6002 or PC6005 for a log that is damaged, PC9002 for what took too much.
        """
        if self._replaying.locked():
            raise Problem("PC3056", "another replay of the log runs")
        async with self._replaying:
            job = await self._job(old, new, since=since, agents=agents, replay=True)
            if not job.logs:
                raise Problem("PC7005", "there is no log yet")
            found = (await self._done(job)).replayed
            if found is None:
                raise Problem("PC9002", "the log could not be replayed")
            return found

    async def _job(
        self,
        old: Release,
        new: Release,
        *,
        since: float | None = None,
        agents: frozenset[str] = frozenset(),
        replay: bool = False,
    ) -> Job:
        was, now = await self._releasing.files(old.number), await self._releasing.files(new.number)
        return Job(
            old=sources(was),
            new=sources(now),
            environment=self._environment,
            logs=await asyncio.to_thread(self._logs) if replay else (),
            since=since,
            agents=agents,
            seconds=REPLAY_SECONDS,
        )

    async def _done(self, job: Job) -> Done:
        if not job.logs and job.size < LARGE:
            return await asyncio.to_thread(done, job)
        process = await asyncio.create_subprocess_exec(
            *argv(), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment()
        )
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                out, _ = await process.communicate(encoded(job))
        except TimeoutError:
            raise Problem("PC9002", "the policies could not be compared in time") from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        return answer(out)
