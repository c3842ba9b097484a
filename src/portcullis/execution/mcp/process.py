"""A child process with pipes: started with a clean environment, read in lines, ended for sure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, TypeAlias

import structlog

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Order, Streams
from portcullis.execution.boxes import Boxes
from portcullis.execution.mcp.bodies import Bare, Body, Boxed

_CHUNK: Final = 65536
_GRACE_SECONDS: Final = 1.0
"""How long the child may take to end by itself, and what it said last to be read."""
_STDERR_SHOWN: Final = 200

_Out: TypeAlias = tuple[asyncio.StreamReader, asyncio.ReadTransport]
_In: TypeAlias = asyncio.StreamWriter

_log = structlog.get_logger(__name__)


class Child:
    """A running process, in a box or (``sandbox: none``) in a process group of its own.

    It inherits no descriptor but its three pipes and no variable but those in ``environ``. Its
    standard error is drained: counted at info, shown in part at debug; not that of one that
    ``holds`` secrets, which it may say in any number of pieces. Times are seconds.
    """

    def __init__(
        self, name: str, body: Body, pipes: tuple[_Out, _Out, _In], *, holds: bool = False
    ) -> None:
        self._name = name
        self._holds = holds
        self._body = body
        self._stdout, self._stderr, self._stdin = pipes
        self._writing = asyncio.Lock()
        self._stderr_lines = 0
        self._ending: asyncio.Task[None] | None = None
        self._at_once = asyncio.Event()
        self._drain = asyncio.create_task(self._drain_stderr())

    @classmethod
    async def start(
        cls,
        name: str,
        command: tuple[str, ...],
        *,
        environ: Mapping[str, str],
        cwd: Path | None,
        holds: bool = False,
    ) -> Child:
        """Start ``command`` without a box; Problem PC5011 when that is not possible.

        Must not be cancelled half-way: the process would be left behind.
        """
        try:
            process = await asyncio.to_thread(
                subprocess.Popen,
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=dict(environ),
                cwd=cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "its command line is malformed"
            raise Problem("PC5011", f"cannot start the server {name}: {reason}") from None
        pipes = (await _reader(process.stdout), await _reader(process.stderr),
                 await _writer(process.stdin))  # fmt: skip
        return cls(name, Bare(process), pipes, holds=holds)

    @classmethod
    async def boxed(cls, name: str, order: Order, boxes: Boxes, *, holds: bool = False) -> Child:
        """Start what ``order`` says in a box; Problem of ``Sandbox.start`` when that fails.

        Must not be cancelled half-way.
        """
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            (stdin, to), (from_out, stdout), (from_err, stderr) = (os.pipe() for _ in range(3))
            for descriptor in (stdin, stdout, stderr):
                theirs.callback(os.close, descriptor)
            files = [os.fdopen(to, "wb", 0), os.fdopen(from_out, "rb", 0),
                     os.fdopen(from_err, "rb", 0)]  # fmt: skip
            for file in files:
                ours.callback(file.close)
            streams = Streams(stdin=stdin, stdout=stdout, stderr=stderr)
            box = await boxes.start(order, streams)
            ours.pop_all()
        pipes = (await _reader(files[1]), await _reader(files[2]), await _writer(files[0]))
        return cls(name, Boxed(box), pipes, holds=holds)

    @property
    def pid(self) -> int:
        """The id of the process, or of the one that stands for its box."""
        return self._body.pid

    @property
    def status(self) -> int | None:
        """The exit status as the body tells it; None while it runs."""
        return self._body.status

    async def write(self, line: bytes, seconds: float) -> None:
        """Write one line; Problem PC5011 when the child does not read it in time or is gone."""
        try:
            async with asyncio.timeout(seconds), self._writing:
                self._stdin.write(line)
                await self._stdin.drain()
        except TimeoutError:
            raise Problem("PC5011", f"the server {self._name} does not read") from None
        except (OSError, RuntimeError):
            raise Problem("PC5011", f"the server {self._name} has ended") from None

    async def lines(self, limit: int) -> AsyncGenerator[bytes, None]:
        """Yield the lines of standard output until it ends.

        Raises Problem PC5004 for a line of more than ``limit`` bytes. A last line without its
        end is not a message and is dropped.
        """
        pending: list[bytes] = []
        size = 0
        while chunk := await self._stdout[0].read(_CHUNK):
            first, *rest = chunk.split(b"\n")
            size += len(first)
            if size > limit:
                raise Problem("PC5004", f"a message of the server exceeds {limit} bytes")
            pending.append(first)
            if not rest:
                continue
            yield b"".join(pending)
            for line in rest[:-1]:
                yield line
            pending, size = [rest[-1]], len(rest[-1])

    async def wait(self) -> None:
        """Wait for the process to end."""
        await self._body.wait()

    async def end(self, *, at_once: bool = False) -> None:
        """Close standard input and give it a moment, unless ``at_once``; then end it for sure."""
        if at_once:
            self._at_once.set()
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        self._stdin.close()
        hurry = asyncio.create_task(self._at_once.wait())
        ended = asyncio.create_task(self._body.wait())
        waiting = {hurry, ended}
        await asyncio.wait(waiting, timeout=_GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await self._body.end(at_once=self._at_once.is_set())
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await asyncio.shield(self._drain)
        self._drain.cancel()
        # A process that got away from the group may hold the pipes open: we do not wait for it.
        self._stdout[1].close()
        self._stderr[1].close()
        _log.info(
            "mcp server ended",
            server=self._name,
            status=self.status,
            stderr_lines=self._stderr_lines,
        )

    async def _drain_stderr(self) -> None:
        while chunk := await self._stderr[0].read(_CHUNK):
            self._stderr_lines += chunk.count(b"\n")
            shown = b"" if self._holds else chunk[:_STDERR_SHOWN]
            _log.debug(
                "mcp server stderr",
                server=self._name,
                bytes=len(chunk),
                text=shown.decode("utf-8", "replace"),
            )


async def _reader(pipe: IO[bytes] | None) -> _Out:
    reader = asyncio.StreamReader(_CHUNK)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport


async def _writer(pipe: IO[bytes] | None) -> _In:
    loop = asyncio.get_running_loop()
    # This protocol is the one that knows how to wait until the pipe takes more.
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
