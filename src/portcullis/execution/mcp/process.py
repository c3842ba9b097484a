"""A child process with pipes: started with a clean environment, read in lines, ended for sure."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, TypeAlias

import structlog

from portcullis.core.errors import Problem

_CHUNK: Final = 65536
_GRACE_SECONDS: Final = 1.0
"""How long the child may take to end by itself, then to end on SIGTERM."""
_STDERR_SHOWN: Final = 200

_Out: TypeAlias = tuple[asyncio.StreamReader, asyncio.ReadTransport]
_In: TypeAlias = asyncio.StreamWriter

_log = structlog.get_logger(__name__)


class Child:
    """A running process in a session (and process group) of its own.

    It inherits no descriptor but its three pipes and no variable but those in ``environ``. Its
    standard error is drained: counted at info, shown in part at debug. Times are seconds.

    Started by ``subprocess`` and not by the loop: uvloop lets descriptors through to the child.
    """

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], pipes: tuple[_Out, _Out, _In]
    ) -> None:
        self._name = name
        self._process = process
        self._stdout, self._stderr, self._stdin = pipes
        self._writing = asyncio.Lock()
        self._stderr_lines = 0
        self._ended = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._drain = asyncio.create_task(self._drain_stderr())
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._reap, args=(loop,), daemon=True).start()

    @classmethod
    async def start(
        cls, name: str, command: tuple[str, ...], *, environ: Mapping[str, str], cwd: Path | None
    ) -> Child:
        """Start ``command``; Problem PC5011 when that is not possible.

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
        return cls(name, process, pipes)

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

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
        await self._ended.wait()

    async def end(self) -> None:
        """Close standard input, then SIGTERM, then SIGKILL to the whole group; then reap."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        self._stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_SECONDS):
                    await self._ended.wait()
                    break
            self._signal(number)
        await self._ended.wait()
        # What the child left behind in its group goes too.
        self._signal(signal.SIGKILL)
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

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the process, in a thread of its own; the loop may be gone by then."""
        self._process.wait()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._ended.set)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _drain_stderr(self) -> None:
        while chunk := await self._stderr[0].read(_CHUNK):
            self._stderr_lines += chunk.count(b"\n")
            _log.debug(
                "mcp server stderr",
                server=self._name,
                text=chunk[:_STDERR_SHOWN].decode("utf-8", "replace"),
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
