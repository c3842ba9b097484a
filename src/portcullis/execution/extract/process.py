"""One document, one process: started, fed, read and ended, whatever it does."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

from portcullis.config.inspection import Extraction
from portcullis.core.ports import Extracted
from portcullis.execution.extract.kinds import Kind

_WORKER = "portcullis.execution.extract.worker"
_HEAD_BYTES = 256
_FAILED = Extracted(text=None, reason="it could not be read within the limits")
_SLOW = Extracted(text=None, reason="it takes too long to read")
_NOT_STARTED = Extracted(text=None, reason="no process could be started for it")
PASSING = (_FAILED, _SLOW, _NOT_STARTED)
"""Verdicts that another time may change: the machine may have been busy with something else."""


async def read_apart(data: bytes, kind: Kind, media_type: str, limits: Extraction) -> Extracted:
    """Have a process of its own read a document. Raises nothing but when it is cancelled.

    It has a session of its own, an empty environment, none of our files, and limits that it
    cannot raise; its group is killed when it is done, late, or says too much.
    """
    arguments = (
        kind.value,
        str(math.ceil(limits.seconds)),
        str(limits.memory_bytes),
        str(limits.text_bytes),
        media_type if kind is Kind.MARKUP else "",
    )
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", _WORKER, *arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError):
        return _NOT_STARTED
    try:
        async with asyncio.timeout(limits.seconds):
            _, answer = await asyncio.gather(
                _feed(process, data), _answer(process, limits.text_bytes + _HEAD_BYTES)
            )
        return _read(answer, limits.text_bytes)
    except TimeoutError:
        return _SLOW
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


async def _feed(process: Process, data: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(ConnectionError):  # it may have had enough
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _answer(process: Process, limit: int) -> bytes:
    """All that it says, or nothing when that is more than ``limit`` bytes."""
    found = b""
    while process.stdout is not None and len(found) <= limit:
        piece = await process.stdout.read(65_536)
        if not piece:
            return found
        found += piece
    return b""


def _read(answer: bytes, room: int) -> Extracted:
    """The answer, which a document may have taken over: no more is believed than must be."""
    head, end, body = answer.partition(b"\n")
    remark = head[1:].decode("ascii", "replace")
    if not end or not remark.isprintable() or len(remark) >= _HEAD_BYTES or len(body) > room:
        return _FAILED
    if head[:1] == b"O":
        return Extracted(text=None, reason=remark)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return _FAILED
    return Extracted(text=text, reason=remark) if head[:1] == b"T" else _FAILED
