"""Runs cases against mutants: a mutant that no case notices is something that nobody tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from typing import Final, Literal

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.policy.bounds import Fragment
from portcullis.policy.engine import Engine, RegorusEngine
from portcullis.policy.pdp import compile_files
from portcullis.policy.source import SourceFile
from portcullis.policy.testing.model import Case
from portcullis.policy.testing.mutant import Mutant
from portcullis.policy.testing.mutants import mutants
from portcullis.policy.testing.rules import run_rules
from portcullis.policy.testing.run import run
from portcullis.policy.testing.tree import Tree

_CHUNK: Final = 8
"""Mutants that a process is given at once."""
_WORTH: Final = 200
"""For fewer mutants a process more takes longer to begin than it saves."""


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a mutant.

    ``killed`` ``by`` a case or a ``test_`` rule; ``survived`` them all; ``refused`` because it is
    no policy that loads; ``untried`` because time was over.
    """

    mutant: Mutant
    fate: Literal["killed", "survived", "refused", "untried"]
    by: str = ""


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all mutants of a policy."""

    fates: tuple[Fate, ...]

    def of(self, fate: str) -> tuple[Fate, ...]:
        """Those that came to one end."""
        return tuple(one for one in self.fates if one.fate == fate)

    @property
    def score(self) -> float:
        """How many percent were killed of those that load; an untried one was not killed."""
        counted = len(self.fates) - len(self.of("refused"))
        return 100.0 * len(self.of("killed")) / counted if counted else 100.0


class Trial:
    """Tries mutants of one policy. Belongs to the thread that made it, or to one process."""

    def __init__(
        self,
        files: tuple[SourceFile, ...],
        cases: Iterable[Case],
        rules: tuple[SourceFile, ...],
        fragment: Fragment,
        now: float,
    ) -> None:
        """``rules`` are the files of ``test_`` rules. Of a case its ``rule`` is not looked at.

        For whoever takes an entry out of a list gives those after it another number.
        """
        self.tree = Tree(files)
        self._cases = tuple(
            replace(case, expected=replace(case.expected, rule=None)) for case in cases
        )
        self._rules = rules
        self._fragment = fragment
        self._now = now
        self._engine: Engine = RegorusEngine()

    def fate(self, mutant: Mutant) -> Fate:
        """Killed, survived or refused."""
        try:
            files = self.tree.edited(mutant.edits)
            policy = compile_files(files, self._fragment, self._engine)
        except Problem:
            return Fate(mutant=mutant, fate="refused")
        for outcome in run(self._cases, policy, self._engine, now=self._now):
            if not outcome.passed:
                return Fate(mutant=mutant, fate="killed", by=outcome.case)
        for ruled in run_rules(self._rules, policy.bundle):
            if not ruled.passed and not ruled.skipped:
                return Fate(mutant=mutant, fate="killed", by=ruled.rule)
        return Fate(mutant=mutant, fate="survived")


def mutate(
    trial: Callable[[], Trial],
    clock: Clock,
    *,
    seconds: float,
    processes: int = 1,
    worth: int = _WORTH,
) -> Mutation:
    """Try all mutants, for at most ``seconds``; in so many ``processes``, if each has enough to do.

    That is ``worth`` mutants. ``trial`` makes a Trial, in each process anew: it can be pickled.
    Mutants that time is over for are spread evenly over the policy.
    """
    ends = clock.monotonic() + seconds
    here = trial()
    all_of_them = tuple(mutants(here.tree))
    order = sorted(range(len(all_of_them)), key=lambda index: _spread(all_of_them[index]))
    fates: dict[int, Fate] = {}
    processes = min(processes, len(order) // worth)
    if processes <= 1:
        for index in order:
            if clock.monotonic() >= ends:
                break
            fates[index] = here.fate(all_of_them[index])
    else:
        fates = _in_processes(trial, all_of_them, order, processes, ends, clock)
    return Mutation(
        fates=tuple(
            fates.get(index, Fate(mutant=one, fate="untried"))
            for index, one in enumerate(all_of_them)
        )
    )


_trial: Trial | None = None


def _begin(trial: Callable[[], Trial]) -> None:
    global _trial  # noqa: PLW0603 - a process of the pool has one, and nothing else in it
    _trial = trial()


def _some(mutants_: list[Mutant]) -> list[Fate]:
    if _trial is None:
        raise RuntimeError("the process has not begun")
    return [_trial.fate(one) for one in mutants_]


def _in_processes(
    trial: Callable[[], Trial],
    all_of_them: tuple[Mutant, ...],
    order: list[int],
    processes: int,
    ends: float,
    clock: Clock,
) -> dict[int, Fate]:
    chunks = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
    fates: dict[int, Fate] = {}
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (trial,))
    try:
        asked = {
            pool.submit(_some, [all_of_them[index] for index in chunk]): chunk for chunk in chunks
        }
        with suppress(TimeoutError):  # what is left then is untried
            for done in as_completed(asked, timeout=max(0.0, ends - clock.monotonic())):
                fates |= dict(zip(asked[done], done.result(), strict=True))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return fates


def _spread(mutant: Mutant) -> bytes:
    return hashlib.sha256(f"{mutant.path} {mutant.told}".encode()).digest()
