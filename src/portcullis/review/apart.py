"""Verifying whole logs beside what must be able to stop at any moment.

What takes more than a moment is done in a process of its own, which is ended when it is not
wanted any more. Nothing is lost with it: verifying only reads.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from portcullis.audit.note import Verifier
from portcullis.audit.verify import read_head, verify
from portcullis.core.errors import Problem
from portcullis.review.logs import Log, Logs
from portcullis.review.subject import Verified

SHORT: Final = 16_384
"""So many entries are verified at once, in a fraction of a second."""
_ASK_SECONDS: Final = 0.1
_END_SECONDS: Final = 1.0


def checked(logs: Logs, at: datetime, processes: int = 1) -> Verified:
    """Verify all of each log. Blocks; Problem PC7005 when one is none."""
    size, reasons = 0, list[str]()
    for log in logs.each:
        found = verify(log.place, log.verifier, processes=processes)
        size += found.size
        if not found.ok:
            reasons += [f"{log.name}: {reason}" for reason in found.reasons or ("no reason given",)]
    return Verified(at=at, ok=not reasons, size=size, reasons=tuple(reasons))


def checked_apart(logs: Logs, at: datetime, stopped: Callable[[], bool]) -> Verified | None:
    """The same; None within a fraction of a second after ``stopped`` says so.

    Problem PC7007 when the process that did it died.
    """
    if _short(logs):
        return checked(logs, at)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    said = [_said(log) for log in logs.each]
    child = context.Process(target=_work, args=(theirs, said, at), daemon=True)
    try:
        child.start()
        theirs.close()
        while not ours.poll(_ASK_SECONDS):
            if stopped():
                return None
        found = ours.recv()
    except EOFError:
        raise Problem("PC7007", "the process that verified the log died") from None
    finally:
        child.kill()
        child.join(_END_SECONDS)
        ours.close()
    if isinstance(found, Problem):
        raise found
    return Verified(at=at, ok=found.ok, size=found.size, reasons=found.reasons)


def _short(logs: Logs) -> bool:
    try:
        return sum(read_head(log.place, log.verifier).size for log in logs.each) <= SHORT
    except Problem:
        return True  # verifying says what is wrong, at once


def _said(log: Log) -> tuple[str, Path, str]:
    """A log as a process can be told of it: its key as text."""
    return log.name, log.place, str(log.verifier)


def _work(answer: Connection, said: list[tuple[str, Path, str]], at: datetime) -> None:
    """In the process: verify, and answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent ends it
    *others, own = (Log(name, place, Verifier.parse(key)) for name, place, key in said)
    try:
        answer.send(checked(Logs(own, tuple(others)), at))
    except Problem as problem:
        answer.send(problem)
