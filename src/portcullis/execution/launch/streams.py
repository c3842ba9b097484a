"""The three standard streams of a box: pipes, or a pseudo-terminal, and never ours themselves.

Who holds a terminal can read what is typed there and set its modes; who holds a file's descriptor
can open the file anew, to write what was to be read (proc_pid_fd(5)). So what a box writes is
carried over. Carrying is done by threads: a terminal that is stopped (Ctrl-S), or a reader that
does not read, holds up nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Iterator
from typing import Final

from portcullis.core.sandbox import Streams

_CHUNK: Final = 65536
_LAST_SECONDS: Final = 1.0
"""So long what was written last may take to get out."""
_ANSWER_SECONDS: Final = 0.05
"""So long our terminal may take to answer a question that was the last the agent wrote to it."""


def is_terminal() -> bool:
    """Whether someone sits there: both what is typed and what is shown is a terminal's."""
    return os.isatty(0) and os.isatty(1)


class Carried:
    """``streams`` are for the box, and closed by ``given``, when it has them."""

    def __init__(self, streams: Streams, theirs: tuple[int, ...], terminal: int | None) -> None:
        self.streams = streams
        self._theirs = theirs
        self._terminal = terminal
        self._out: list[threading.Thread] = []

    def given(self) -> None:
        """Close our copies of what is the box's: only then its end is seen."""
        for number in self._theirs:
            os.close(number)
        self._theirs = ()

    def resize(self) -> None:
        """Give the box's terminal the size of ours, and have the agent know."""
        if self._terminal is not None:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def out(self, source: int, target: int) -> None:
        """Carry what the box writes, until it has ended."""
        thread = threading.Thread(target=_copy, args=(source, target), daemon=True)
        thread.start()
        self._out.append(thread)

    def last(self) -> None:
        """Wait for what the box wrote last, but no longer than a moment."""
        until = time.monotonic() + _LAST_SECONDS
        for thread in self._out:
            thread.join(max(0.0, until - time.monotonic()))


@contextlib.contextmanager
def terminal() -> Iterator[Carried]:
    """A pseudo-terminal for the box behind ours, which is raw until the block ends.

    Keys, also those that are signals elsewhere, go to the box as bytes; escape sequences of the
    agent go to our terminal as they are.
    """
    ours, theirs = os.openpty()
    for number in (ours, theirs):
        os.set_inheritable(number, False)  # noqa: FBT003 - the standard library's signature
    carried = Carried(Streams(stdin=theirs, stdout=theirs, stderr=theirs), (theirs,), ours)
    before = termios.tcgetattr(0)
    with _typing(ours):
        try:
            tty.setraw(0, termios.TCSANOW)
            carried.resize()
            carried.out(ours, 1)
            yield carried
            carried.given()
            carried.last()
        finally:
            carried.given()
            time.sleep(_ANSWER_SECONDS)
            termios.tcflush(0, termios.TCIFLUSH)  # what our terminal answered is no command
            termios.tcsetattr(0, termios.TCSANOW, before)
            os.close(ours)


@contextlib.contextmanager
def plain() -> Iterator[Carried]:
    """Three pipes, and what comes and goes by them is ours."""
    (stdin, to), (from_out, stdout), (from_err, stderr) = (os.pipe() for _ in range(3))
    streams = Streams(stdin=stdin, stdout=stdout, stderr=stderr)
    carried = Carried(streams, (stdin, stdout, stderr), None)
    with _typing(to, close=True):
        carried.out(from_out, 1)
        carried.out(from_err, 2)
        try:
            yield carried
        finally:
            carried.given()
            carried.last()


@contextlib.contextmanager
def _typing(target: int, *, close: bool = False) -> Iterator[None]:
    """Carry what is typed here to ``target`` until the block ends."""
    stop, stopped = os.pipe()

    def carry() -> None:
        with contextlib.suppress(OSError):
            while 0 in (ready := select.select([0, stop], [], [])[0]) and stop not in ready:
                data = os.read(0, _CHUNK)
                if not data:
                    break
                _write(target, data)
        if close:
            os.close(target)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(stopped)
        thread.join(0.2)
        os.close(stop)


def _copy(source: int, target: int) -> None:
    with contextlib.suppress(OSError):  # EIO: the last that held the terminal is gone (pty(7))
        while data := os.read(source, _CHUNK):
            _write(target, data)


def _write(target: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(target, left) :]
