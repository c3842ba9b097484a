"""Following the releases of a deployment: what is active, and what is in shadow or canary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.release import File, Release, Stage, Standing, Tallies
from portcullis.core.release_ports import ReleaseBook
from portcullis.policy.engine import CompiledPolicy
from portcullis.policy.reload import PolicyReload
from portcullis.policy.source import SourceFile
from portcullis.policy.staged import Staged

FOLDER: Final = "policy"
"""What the folder of a release's files is called, wherever they came from."""
_FLUSH_TICKS: Final = 5
_AGAIN_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Delivery:
    """Keeps one process at what the book says.

    With ``binding`` the active release is the policy; without, the folder is, and only candidates
    are followed. ``check`` refuses a candidate with a Problem, ``report`` is told of each Problem.
    ``taken`` is the release that takes force, or has. One that could not be taken is tried again.
    After ``patience`` seconds in which what is active was not known or not taken it is ``behind``:
    more than compiling takes (``policy.apart``), since nothing else is done meanwhile.
    """

    def __init__(
        self,
        book: ReleaseBook,
        policy: PolicyReload,
        gateway: str,
        *,
        binding: bool,
        check: Callable[[CompiledPolicy], None],
        report: Callable[[Problem], None],
        clock: Clock,
        taken: Release | None = None,
        seconds: float = 0.2,
        patience: float = 180.0,
    ) -> None:
        self._book = book
        self._policy = policy
        self._gateway = gateway
        self._binding = binding
        self._check = check
        self._report = report
        self._seconds = seconds
        self._clock = clock
        self._patience = patience
        self._current = clock.monotonic()  # when it was known to be at what the book says
        self._again: float | None = None  # when what was refused is tried again
        self._version = -1
        self._work: tuple[int, Stage, int] | None = None
        self._refused: tuple[int, str] | None = None
        self._flushed: Tallies | None = None
        self.taken = taken

    def behind(self) -> bool:
        """Whether another policy than the active one may be deciding here, for too long."""
        return self._binding and self._clock.monotonic() - self._current > self._patience

    async def run(self) -> None:
        """Follow until cancelled."""
        ticks = 0
        try:
            while True:
                await self._look()
                ticks += 1
                if ticks % _FLUSH_TICKS == 0:
                    await self._flush()
                await asyncio.sleep(self._seconds)
        finally:
            self._end()

    async def _look(self) -> None:
        try:
            began = self._clock.monotonic()
            version = await asyncio.to_thread(self._book.version)
            if version == self._version and (self._again is None or began < self._again):
                self._current = began if self._again is None else self._current
                return
            standing = await asyncio.to_thread(self._book.standing)
        except Problem:
            return  # it is read again; the kill feed is stale when nothing can be read
        if await self._follow(standing, version):
            self._version = version
            self._current = began if self._again is None else self._current

    async def _follow(self, standing: Standing, version: int) -> bool:
        """Do what stands. False when the book could not be read: it is tried again."""
        active, candidate = standing.active, standing.candidate
        try:
            if self._binding and active is not None and _other(active, self.taken):
                self._again = self._clock.monotonic() + _AGAIN_SECONDS
                await self._take(active)
            self._again = None
            await self._put_to_work(candidate)
        except Problem as problem:
            if problem.code == "PC9002":
                return False
            self._tell(version, problem)
        return True

    async def _take(self, active: Release) -> None:
        files = await asyncio.to_thread(self._book.files, active.number)
        before, self.taken = self.taken, active
        try:
            await self._policy.take(sources(files))
        except Problem:
            self.taken = before
            raise

    async def _put_to_work(self, candidate: Release | None) -> None:
        wanted = None if candidate is None else (candidate.number, candidate.stage, candidate.share)
        if wanted == self._work:
            return
        self._end()
        if candidate is None:
            return
        files = await asyncio.to_thread(self._book.files, candidate.number)
        policy = await asyncio.to_thread(self._policy.compiled, sources(files))
        self._check(policy)
        pdp = self._policy.pdp
        other = self._policy.candidate(policy)
        pdp.stage(Staged(other, pdp.judged_by_force, share=candidate.share, salt=candidate.text))
        self._work = wanted
        log.info("policy_staged", release=candidate.number, stage=candidate.stage.value)

    def _end(self) -> None:
        staged, self._work, self._flushed = self._policy.pdp.staged, None, None
        if staged is not None:
            self._policy.pdp.stage(None)
            staged.close()

    async def _flush(self) -> None:
        staged, work = self._policy.pdp.staged, self._work
        if staged is None or work is None:
            return
        tallies = staged.tallies()
        if tallies == self._flushed:
            return
        try:
            await asyncio.to_thread(self._book.tally, work[0], self._gateway, tallies)
            self._flushed = tallies
        except Problem:
            log.warning("policy_tallies_not_written", release=work[0])

    def _tell(self, version: int, problem: Problem) -> None:
        said = (version, str(problem))
        if said != self._refused:
            self._refused = said
            self._report(problem)


def _other(active: Release, taken: Release | None) -> bool:
    return taken is None or taken.number != active.number


def sources(files: tuple[File, ...]) -> tuple[SourceFile, ...]:
    """The files of a release as those of a policy."""
    return tuple(SourceFile(file.name, file.text) for file in files)


def files_of(found: tuple[SourceFile, ...]) -> tuple[File, ...]:
    """The files of a folder, whatever it is called, as those of a release."""
    return tuple(
        File(name=f"{FOLDER}/{file.name.rpartition('/')[2]}", text=file.text) for file in found
    )
