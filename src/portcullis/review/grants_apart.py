"""A review of a large policy in a process of its own, so that no call waits for it.

Reading policies and asking the engine of each agent hold the interpreter's lock. Run as ``python
-m portcullis.review.grants_apart``: the job comes in on standard input, what came of it goes out
on standard output.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from portcullis.catalogue.schema import fault
from portcullis.core.errors import Problem
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile
from portcullis.review.grants import Known, Report
from portcullis.review.grants_findings import key_of
from portcullis.review.grants_review import Asking, review
from portcullis.review.grants_widened import widened

LARGE: Final = 32_768
"""Characters of policies from which on they are reviewed apart."""
_SECONDS: Final = 300.0
_NICE: Final = 10
"""The gate's calls go first."""
_INHERITED: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONTZPATH")
"""What of the environment the process sees: no secret stands in these."""


class Held(msgspec.Struct, frozen=True):
    """An older policy, and the agents that are held against it."""

    files: tuple[SourceFile, ...]
    agents: frozenset[str]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to review. ``held`` is what was confirmed, ``before`` what was in force before.

    ``then`` is what was when the time began for which a grant may lie idle.
    """

    files: tuple[SourceFile, ...]
    known: Known
    now: float
    asking: Asking
    held: tuple[Held, ...] = ()
    before: tuple[SourceFile, ...] = ()
    then: tuple[SourceFile, ...] = ()

    @property
    def size(self) -> int:
        """Characters of all policies."""
        several = (self.files, self.before, self.then, *(one.files for one in self.held))
        return sum(len(file.text) for files in several for file in files)


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: a report, or what is wrong with the policy.

    ``gained`` is what agents may now and could not by what was confirmed, or else before.
    """

    report: Report | None = None
    gained: dict[str, tuple[str, ...]] = {}
    code: str = ""
    detail: str = ""
    hint: str | None = None


_job = msgspec.msgpack.Decoder(Job).decode
_done = msgspec.msgpack.Decoder(Done).decode


def reviewed(job: Job) -> Done:
    """Do it here. Raises Problem PC7002 for a policy that does not compile."""
    lately: dict[str, tuple[str, ...]] = {}
    for one in job.held:
        gained = _gained(one.files, job)
        lately |= {agent: lines for agent, lines in gained.items() if agent in one.agents}
    confirmed = frozenset[str]().union(*(one.agents for one in job.held))
    before = _gained(job.before, job) if job.before else {}
    others = {agent: lines for agent, lines in before.items() if agent not in confirmed}
    known = msgspec.structs.replace(job.known, then=_keys(job.then))
    if job.held:
        known = msgspec.structs.replace(known, widened=lately)
    report = review(job.files, known, job.now, job.asking)
    return Done(report=report, gained=others | lately)


def _gained(old: tuple[SourceFile, ...], job: Job) -> dict[str, tuple[str, ...]]:
    """Against a policy that this version of the program may not read any more: nothing."""
    try:
        was = parse(old, fault)
    except Problem:
        return {}
    return widened(was, parse(job.files, fault))


def _keys(files: tuple[SourceFile, ...]) -> frozenset[str] | None:
    try:
        policy = parse(files, fault) if files else None
    except Problem:
        return None
    if policy is None:
        return None
    return frozenset(key_of(grant.rule) for role in policy.roles for grant in role.grants())


def reviewed_apart(
    job: Job, began: Callable[[subprocess.Popen[bytes]], None] = lambda _: None
) -> Done:
    """The same, of large policies in a process, which ``began`` is given to end it. Blocks.

    Raises Problem PC7002, and PC9002 where the process does not do its part.
    """
    if job.size < LARGE:
        return reviewed(job)
    argv = [sys.executable, "-P", "-m", "portcullis.review.grants_apart"]
    try:
        with subprocess.Popen(  # noqa: S603 - our own module
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={key: os.environ[key] for key in _INHERITED if key in os.environ},
        ) as process:
            began(process)
            try:
                out, _ = process.communicate(msgspec.msgpack.encode(job), timeout=_SECONDS)
            finally:
                process.kill()
        found = _done(out)
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError):
        raise Problem("PC9002", "the policy could not be reviewed") from None
    if found.report is None:
        raise Problem(found.code, found.detail, hint=found.hint)
    return found


def end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Have reviews end that run apart: nobody waits for them."""
    for process in processes:
        process.kill()


def main() -> None:
    """Do the job on standard input; what is garbage by then goes with the process."""
    gc.disable()
    os.nice(_NICE)
    try:
        found = reviewed(_job(sys.stdin.buffer.read()))
    except Problem as problem:
        found = Done(code=problem.code, detail=problem.detail, hint=problem.hint)
    sys.stdout.buffer.write(msgspec.msgpack.encode(found))


if __name__ == "__main__":
    main()
