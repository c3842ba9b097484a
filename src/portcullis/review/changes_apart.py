"""Two policies compared in a process of its own, so that no call waits for it.

Run as ``python -m portcullis.review.changes_apart``: the job comes in on standard input, what came
of it goes out on standard output. The process bounds itself: what it finds within its time and its
memory, it says, and how far it came. Whoever starts it ends it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.policy.pdp import PRODUCTION
from portcullis.policy.source import SourceFile
from portcullis.review.changes import Changes, changes
from portcullis.review.replay import Group, Kind, Replay, Summary
from portcullis.review.replay_asked import events
from portcullis.review.replay_side import Side

MODULE: Final = "portcullis.review.changes_apart"
LARGE: Final = 32_768
"""Characters of policies from which on they are compared apart."""
_LINE: Final = 32
"""What a line counts for at least."""
MEMORY: Final = 2 * 2**30
"""The most memory that the process has, in bytes of addresses."""
CPU_SECONDS: Final = 120
MOST_GROUPS: Final = 200
_NICE: Final = 10
"""The gate's calls go first."""
_INHERITED: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONTZPATH")
"""What of the environment the process sees: no secret stands in these."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Two policies to compare; with ``logs``, also over what these have from ``since`` on.

    Times are in seconds. No event is read after ``seconds``. Only ``agents`` are looked at, if
    there are any.
    """

    old: tuple[SourceFile, ...]
    new: tuple[SourceFile, ...]
    environment: str = PRODUCTION
    logs: tuple[str, ...] = ()
    since: float | None = None
    agents: frozenset[str] = frozenset()
    seconds: float = 20.0

    @property
    def size(self) -> int:
        """Characters of both policies; many short lines take longest to compare."""
        texts = [file.text for file in (*self.old, *self.new)]
        return sum(max(len(text), _LINE * len(text.splitlines())) for text in texts)


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says of a change: the groups that count most, those that are certain first.

    ``more`` is how many decisions that change, or may, are in no group here. ``stopped`` is the
    time of the event at which the time was up, None when all was read.
    """

    summary: Summary
    more: int = 0
    stopped: datetime | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, or what is wrong with a policy or a log."""

    changes: Changes | None = None
    replayed: Replayed | None = None
    code: str = ""
    detail: str = ""
    hint: str | None = None


_job = msgspec.msgpack.Decoder(Job).decode
_done = msgspec.msgpack.Decoder(Done).decode
encoded = msgspec.msgpack.Encoder().encode


def argv() -> tuple[str, ...]:
    """What to start."""
    return sys.executable, "-P", "-m", MODULE


def environment() -> dict[str, str]:
    """What it sees of ours."""
    return {key: os.environ[key] for key in _INHERITED if key in os.environ}


def answer(out: bytes) -> Done:
    """What it said. Raises Problem: its own, or PC9002 when it said nothing."""
    try:
        found = _done(out)
    except msgspec.MsgspecError:
        raise Problem("PC9002", "the policies could not be compared within bounds") from None
    if found.code:
        raise Problem(found.code, found.detail, hint=found.hint)
    return found


def done(job: Job) -> Done:
    """Do it here. Raises Problem PC7002, PC7005, PC6002, PC6005."""
    if not job.logs:
        return Done(changes=changes(job.old, job.new))
    return Done(replayed=_replayed(job))


def _replayed(job: Job) -> Replayed:
    until = time.monotonic() + job.seconds
    since = None if job.since is None else datetime.fromtimestamp(job.since, UTC)
    sides = Side(job.old, job.environment), Side(job.new, job.environment)
    replay = Replay(*sides, since=since, agents=job.agents)
    stopped: list[datetime] = []

    def timed() -> Iterator[Event]:
        for event in events(map(Path, job.logs), since):
            if time.monotonic() > until:
                stopped.append(event.time)
                return
            yield event

    for _ in replay.run(timed()):
        pass
    summary = replay.summary
    shown = sorted(summary.groups, key=_first)[:MOST_GROUPS]
    more = summary.changed + summary.undetermined - sum(one.count for one in shown)
    summary.groups = shown
    return Replayed(summary=summary, more=more, stopped=stopped[0] if stopped else None)


def _first(group: Group) -> tuple[bool, int, str, str]:
    return group.kind is not Kind.CHANGED, -group.count, group.agent, group.target


def main() -> None:
    """Do the job on standard input; what is garbage by then goes with the process."""
    gc.disable()
    os.nice(_NICE)
    with contextlib.suppress(ValueError):  # it has less already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    try:
        found = done(_job(sys.stdin.buffer.read()))
    except Problem as problem:
        found = Done(code=problem.code, detail=problem.detail, hint=problem.hint)
    except MemoryError:
        found = Done(code="PC9002", detail="there was too little memory to compare them")
    sys.stdout.buffer.write(encoded(found))


if __name__ == "__main__":
    main()
