"""Hot reload: a changed policy folder is compiled beside the running policy, then swapped in.

What does not compile changes nothing: the policy in force stays, and the Problem is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from portcullis.core.errors import Problem
from portcullis.policy.bounds import Fragment
from portcullis.policy.engine import CompiledPolicy, RegorusEngine
from portcullis.policy.pdp import RegoPdp, compile_files
from portcullis.policy.source import SourceFile, read


class PolicyReload:
    """Keeps ``pdp`` at what the folder says.

    The constructor loads the folder and raises Problem when it does not compile. ``run`` watches
    the content and compiles off the event loop; it waits until it has read the same twice, so
    that a half-written file is not taken for a policy, and compiles what it read. ``adopt`` is
    called with each policy just before it takes force (on the event loop, with no decision in
    between) and may refuse it with a Problem; ``report`` is called with each Problem, once per
    content.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fragment: Fragment,
        adopt: Callable[[CompiledPolicy], None],
        report: Callable[[Problem], None],
        seconds: float = 1.0,
    ) -> None:
        self._folder = folder
        self._fragment = fragment
        self._adopt = adopt
        self._report = report
        self._seconds = seconds
        self._engine = RegorusEngine()
        self._now = asyncio.Event()
        self._first = read(folder)
        policy = compile_files(self._first, fragment, self._engine)
        adopt(policy)
        self.pdp = RegoPdp(policy, self._engine)

    def reload(self) -> None:
        """Have ``run`` load at once what is there now (SIGHUP)."""
        self._now.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        before: object = None
        judged: object = self._first
        while True:
            asked = self._now.is_set()
            self._now.clear()
            files, problem = await asyncio.to_thread(self._look)
            found = files or str(problem)
            if asked or (found == before and found != judged):
                judged = found
                await self._load(files, problem)
            before = found
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._now.wait()

    def _look(self) -> tuple[tuple[SourceFile, ...], Problem | None]:
        try:
            return read(self._folder), None
        except Problem as problem:
            return (), problem

    async def _load(self, files: tuple[SourceFile, ...], problem: Problem | None) -> None:
        try:
            if problem is not None:
                raise problem
            policy = await asyncio.to_thread(compile_files, files, self._fragment, self._engine)
            if policy.digest != self.pdp.digest:
                self._adopt(policy)
                self.pdp.swap(policy)
        except Problem as refused:
            self._report(refused)
