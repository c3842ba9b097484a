"""What runs in a box as the parent of the agent: loopback in front, the launcher's sockets behind.

One file of the standard library, copied into the box and run there as

    python3 -I -S bridge.py [--forward PORT=SOCKET]... [--names PORT=SOCKET] [--control SOCKET]
                            [--terminal] -- CMD...

It holds no secret and decides nothing: bytes from 127.0.0.1:PORT go to a Unix socket as they are.
What is behind that socket is outside the box. ``--names`` is for questions of DNS: those that come
in datagrams go there one by one, as over TCP (RFC 1035, 4.2.2). It ends with CMD's exit code, as a
shell would say it: 126 when CMD cannot be run, 127 when it is not there, 128 and more for a signal.
When the launcher's control connection ends, so does it, and with it the box.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import termios
from collections.abc import Awaitable, Callable

MOST = 100
"""Most connections at once; another is closed. Each takes two descriptors of the box's 256."""
CHUNK = 65536
READY, GO = b"ready\n", b"\n"
"""What is said on the control connection before CMD is started, and what is waited for then."""
NOT_RUN, NOT_THERE, SIGNALLED = 126, 127, 128
HEAD = 12
"""Bytes of a DNS message's header."""
QUESTIONS, ANSWER_SECONDS = 32, 20
"""Most questions in datagrams at once; another is lost. And how long one may take."""


def main(words: list[str]) -> int:
    """Run CMD with the forwards in place; its exit code."""
    forwards: list[tuple[socket.socket, str]] = []
    questions: tuple[socket.socket, str] | None = None
    control: socket.socket | None = None
    terminal = False
    while words and words[0] != "--":
        option = words.pop(0)
        if option == "--terminal":
            terminal = True
        elif option == "--forward":
            port, _, path = words.pop(0).partition("=")
            forwards.append((_listening(int(port)), path))
        elif option == "--names":
            port, _, path = words.pop(0).partition("=")
            try:
                streams = _listening(int(port))
                datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                datagrams.bind(("127.0.0.1", int(port)))
            except OSError as error:
                os.write(2, f"portcullis run: names are not resolved: {error.strerror}\n".encode())
                continue
            forwards.append((streams, path))
            questions = datagrams, path
        elif option == "--control":
            control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            control.connect(words.pop(0))
            control.sendall(READY)  # before the agent is there: nobody else can have said it
            if control.recv(len(GO)) != GO:
                return SIGNALLED + signal.SIGKILL
    command = words[1:]
    child = os.fork()
    if child == 0:
        _become(command, terminal=terminal)
    _let_go()  # the streams are the child's alone: outside they end when its own do
    return asyncio.run(_serve(child, forwards, questions, control))


def _listening(port: int) -> socket.socket:
    """A listener whose connections, which have it of it, wait for no acknowledgement (tcp(7))."""
    made = socket.create_server(("127.0.0.1", port), backlog=64)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _become(command: list[str], *, terminal: bool) -> None:
    """Become CMD, in a session of its own whose terminal is the one that there is."""
    try:
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by the interpreter
            signal.signal(ignored, signal.SIG_DFL)
        if terminal:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        else:
            os.setpgid(0, 0)
        os.execvp(command[0], command)  # noqa: S606 - CMD, word for word, without a shell
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "not found in the box" if missing else error.strerror
        os.write(2, f"portcullis run: {command[0]}: {why}\n".encode())
        os._exit(NOT_THERE if missing else NOT_RUN)


def _let_go() -> None:
    """Have no stream of our own."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)


async def _serve(
    child: int,
    forwards: list[tuple[socket.socket, str]],
    questions: tuple[socket.socket, str] | None,
    control: socket.socket | None,
) -> int:
    over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, _reap, child, over)
    relay = _Relay()
    for listening, path in forwards:
        await asyncio.start_server(relay.to(path), sock=listening, limit=CHUNK)
    if questions is not None:
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Questions(questions[1]), sock=questions[0]
        )
    listen = asyncio.create_task(_obey(child, control, over)) if control else None
    _reap(child, over)  # it may have ended before we listened
    code = await over
    if listen is not None:
        listen.cancel()
    return code


def _reap(child: int, over: asyncio.Future[int]) -> None:
    """Collect what has ended, CMD or an orphan of its."""
    with contextlib.suppress(ChildProcessError):
        while True:
            found, status = os.waitpid(-1, os.WNOHANG)
            if not found:
                return
            if found == child and not over.done():
                ended = os.waitstatus_to_exitcode(status)
                over.set_result(ended if ended >= 0 else SIGNALLED - ended)


async def _obey(child: int, control: socket.socket, over: asyncio.Future[int]) -> None:
    """Pass on the signals that the launcher names, a number a line."""
    control.setblocking(False)  # noqa: FBT003 - the standard library's signature
    reader, _ = await asyncio.open_connection(sock=control, limit=CHUNK)
    while line := await reader.readline():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, int(line))
    if not over.done():
        over.set_result(SIGNALLED + signal.SIGKILL)


class _Relay:
    """Carries bytes both ways, for so many connections at once."""

    def __init__(self) -> None:
        self._open = 0

    def to(
        self, path: str
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        """What serves a connection by passing it on to the socket at ``path``."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._open >= MOST:
                writer.transport.abort()
                return
            self._open += 1
            try:
                await self._carry(reader, writer, path)
            finally:
                self._open -= 1

        return serve

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
    ) -> None:
        try:
            there, back = await asyncio.open_unix_connection(path, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        except OSError:  # one side is gone: so is the other
            writer.transport.abort()
            back.transport.abort()
        finally:
            writer.close()
            back.close()


class _Questions(asyncio.DatagramProtocol):
    """Passes a question that came in a datagram on to the socket at ``path``, and its answer back.

    Who cannot be answered is told so at once (SERVFAIL), and does not ask for seconds.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._running: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) < HEAD or len(self._running) >= QUESTIONS:
            return
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._asked(data)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            answer = data[:2] + bytes((data[2] | 0x80, 0x82)) + data[4:]
        self._transport.sendto(answer, addr)  # type: ignore[attr-defined]  # it is one of datagrams

    async def _asked(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            writer.write(len(data).to_bytes(2, "big") + data)
            size = int.from_bytes(await reader.readexactly(2), "big")
            return await reader.readexactly(size)
        finally:
            writer.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy to the end, and say that it was the end."""
    while data := await source.read(CHUNK):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
