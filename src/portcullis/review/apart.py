"""Verifying a whole log beside what must be able to stop at any moment.

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

from portcullis.audit.verify import own_verifier, read_head, verify
from portcullis.core.errors import Problem
from portcullis.review.subject import Verified

SHORT: Final = 16_384
"""So many entries are verified at once, in a fraction of a second."""
_ASK_SECONDS: Final = 0.1
_END_SECONDS: Final = 1.0


def checked(directory: Path, at: datetime, processes: int = 1) -> Verified:
    """Verify the whole log. Blocks; Problem PC7005 when there is none."""
    found = verify(directory, own_verifier(directory), processes=processes)
    return Verified(at=at, ok=found.ok, size=found.size, reasons=tuple(found.reasons))


def checked_apart(directory: Path, at: datetime, stopped: Callable[[], bool]) -> Verified | None:
    """The same; None within a fraction of a second after ``stopped`` says so.

    Problem PC7007 when the process that did it died.
    """
    if _short(directory):
        return checked(directory, at)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, directory, at), daemon=True)
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


def _short(directory: Path) -> bool:
    try:
        return read_head(directory, own_verifier(directory)).size <= SHORT
    except Problem:
        return True  # verifying says what is wrong, at once


def _work(answer: Connection, directory: Path, at: datetime) -> None:
    """In the process: verify, and answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent ends it
    try:
        answer.send(checked(directory, at))
    except Problem as problem:
        answer.send(problem)
