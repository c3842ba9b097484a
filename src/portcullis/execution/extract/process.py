"""One document, one process: started, fed, read and ended, whatever it does."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
from typing import cast

from portcullis.config.inspection import Extraction
from portcullis.core.inspection_ports import Extracted
from portcullis.execution.extract.kinds import Kind

_WORKER = "portcullis.execution.extract.worker"
_HEAD_BYTES = 256
_STDOUT = 1
_FAILED = Extracted(text=None, reason="it could not be read within the limits")
_SLOW = Extracted(text=None, reason="it takes too long to read")
NOT_STARTED = Extracted(text=None, reason="no process could be started for it")
PASSING = (_FAILED, _SLOW)
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
    loop = asyncio.get_running_loop()
    talk = _Talk(loop, limits.text_bytes + _HEAD_BYTES)
    try:
        transport, _ = await loop.subprocess_exec(
            lambda: talk,
            *(sys.executable, "-I", "-m", _WORKER, *arguments),
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError):
        return NOT_STARTED
    try:
        async with asyncio.timeout(limits.seconds):
            stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
            stdin.write(data)
            stdin.close()
            return _read(await talk.answer, limits.text_bytes)
    except TimeoutError:
        return _SLOW
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        try:
            await asyncio.shield(talk.exited)
        finally:
            transport.close()


class _Talk(asyncio.SubprocessProtocol):
    """What goes to the process and comes from it: no more than ``limit`` bytes, else nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._limit = limit
        self._found = bytearray()
        self.answer: asyncio.Future[bytes] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It says something."""
        del fd
        self._found += data
        if len(self._found) > self._limit:
            self._found.clear()
            self._end()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """It has no more to say, or does not listen."""
        del exc
        if fd == _STDOUT:
            self._end()

    def process_exited(self) -> None:
        """It is gone, and its number free."""
        if not self.exited.done():
            self.exited.set_result(None)

    def _end(self) -> None:
        if not self.answer.done():
            self.answer.set_result(bytes(self._found))


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
