"""Hot reload: a changed policy is compiled beside the running one, then swapped in.

What does not compile changes nothing: the policy in force stays, and the Problem is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.policy.apart import compile_apart
from portcullis.policy.bounds import Fragment
from portcullis.policy.engine import CompiledPolicy, RegorusEngine
from portcullis.policy.pdp import PRODUCTION, RegoPdp, compile_files
from portcullis.policy.source import SourceFile, read
from portcullis.policy.staged import StagedPdp


class PolicyReload:
    """Keeps ``pdp`` at what the folder says, or at what it was given.

    The constructor loads the folder and raises Problem when it does not compile. ``run`` watches
    the content and compiles off the event loop; it waits until it has read the same twice, so
    that a half-written file is not taken for a policy, and compiles what it read. ``adopt`` is
    called with each policy just before it takes force (on the event loop, with no decision in
    between) and may refuse it with a Problem; ``report`` is called with each Problem, once per
    content. ``files`` is the text of what is in force, of which ``in_force`` is told each time,
    at first in the constructor.

    With ``held`` that is the policy, and nothing in the folder takes force: another content than
    it held last is told to ``noticed``, once each, and also what the folder holds at first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fragment: Fragment,
        environment: str = PRODUCTION,
        clock: Clock | None = None,
        adopt: Callable[[CompiledPolicy], None],
        report: Callable[[Problem], None],
        seconds: float = 1.0,
        held: tuple[SourceFile, ...] | None = None,
        noticed: Callable[[tuple[SourceFile, ...]], Awaitable[None]] | None = None,
        in_force: Callable[[tuple[SourceFile, ...], str], None] = lambda _files, _digest: None,
    ) -> None:
        self._folder = folder
        self._fragment = fragment
        self._environment = environment
        self._clock = clock
        self._adopt = adopt
        self._report = report
        self._seconds = seconds
        self._held = held is not None
        self._noticed = noticed
        self._in_force = in_force
        self._engine = RegorusEngine()
        self._now = asyncio.Event()
        self.files = read(folder) if held is None else held
        policy = compile_files(self.files, self._fragment, self._engine)
        adopt(policy)
        self.pdp = StagedPdp(policy, self._engine, environment=environment, clock=clock)
        in_force(self.files, policy.digest)

    def reload(self) -> None:
        """Have ``run`` look at once at what is there now (SIGHUP)."""
        self._now.set()

    def compiled(self, files: tuple[SourceFile, ...]) -> CompiledPolicy:
        """Compile files. Blocks. Raises Problem."""
        return compile_apart(files, self._fragment, self._engine)

    def candidate(self, policy: CompiledPolicy) -> RegoPdp:
        """A PDP for another policy, which decides nothing by itself."""
        return RegoPdp(policy, self._engine, environment=self._environment, clock=self._clock)

    async def take(self, files: tuple[SourceFile, ...]) -> None:
        """Put other files in force. Raises Problem, and then the policy in force stays."""
        policy = await asyncio.to_thread(self.compiled, files)
        if policy.digest != self.pdp.digest:
            self._adopt(policy)
            self.pdp.swap(policy)
        self.files = files
        self._in_force(files, policy.digest)

    async def run(self) -> None:
        """Watch until cancelled."""
        before: object = None
        judged: object = () if self._held else self.files
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
            if self._held:
                if self._noticed is not None:
                    await self._noticed(files)
                return
            if problem is not None:
                raise problem
            await self.take(files)
        except Problem as refused:
            self._report(refused)
