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
import re
import select
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from typing import Final

from portcullis.core.sandbox import Streams

_CHUNK: Final = 65536
_LAST_SECONDS: Final = 1.0
"""So long what was written last may take to get out."""
_QUIET_SECONDS: Final = 0.05
"""So long our terminal is silent before what it was asked is taken to be answered."""
_ANSWER_SECONDS: Final = 1.0
"""So long it may take to answer a question of ours, which it does after those of the agent."""
_DUMB: Final = "dumb"
"""A terminal that takes questions for text, and answers none."""
_ASKED: Final = b"\x1b[5n"
_ANSWERED: Final = b"\x1b[0n"
"""Is it well? It is (ECMA-48, DSR): terminals answer in the order in which they are asked."""
_ASKING: Final = re.compile(rb"[\x05\x1b\x90\x9b]|\xc2[\x90\x9b]")
"""What a question to a terminal begins with."""
_WITHIN: Final = rb"[\x00-\x1a\x1c-\x1f0-9;]"  # terminals act on C0 within a sequence, too
_ALIKE: Final = re.compile(
    rb"(?:\x1b[\x00-\x1a\x1c-\x1f]{0,9}\[|\xc2?\x9b)(?:%b{0,30}5%b{0,30}n|%b{31})"
    % ((_WITHIN,) * 3)
)
"""A question of the agent's whose answer may be like the one to ours."""
_TAIL: Final = 64
"""Bytes before a piece that are looked at again with it: a question may be in two."""


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
        self.asked = False
        """Whether the box may have asked our terminal something."""
        self.alike = False
        """Whether that may have been what we ask."""
        self._tail = b""

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
        thread = threading.Thread(target=_copy, args=(source, target, self._seen), daemon=True)
        thread.start()
        self._out.append(thread)

    def _seen(self, data: bytes) -> None:
        self.asked = self.asked or _ASKING.search(data) is not None
        self.alike = self.alike or _ALIKE.search(self._tail + data) is not None
        self._tail = data[-_TAIL:]

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
    try:
        with _typing(ours):
            tty.setraw(0, termios.TCSANOW)
            carried.resize()
            carried.out(ours, 1)
            try:
                yield carried
                carried.given()
                carried.last()
            finally:
                carried.given()
    finally:
        if carried.asked and os.environ.get("TERM", _DUMB) != _DUMB:
            _answers(alike=carried.alike)
        termios.tcflush(0, termios.TCIFLUSH)  # what our terminal answered is no command
        termios.tcsetattr(0, termios.TCSANOW, before)
        os.close(ours)


def _answers(*, alike: bool) -> None:
    """Take what our terminal answers to what it was asked last, however far away it is.

    Where the agent may have asked the same, no answer says that it is the last: we wait it out.
    """
    with contextlib.suppress(OSError):
        _write(1, _ASKED)
        said, until = b"", time.monotonic() + _ANSWER_SECONDS
        while (alike or _ANSWERED not in said) and _ready(until - time.monotonic()):
            said = said[-len(_ANSWERED) :] + os.read(0, _CHUNK)
        while _ready(_QUIET_SECONDS) and time.monotonic() < until:
            os.read(0, _CHUNK)


def _ready(seconds: float) -> bool:
    """Whether something is typed, or answered, within so many seconds."""
    return bool(select.select([0], [], [], max(0.0, seconds))[0])


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


def _copy(source: int, target: int, seen: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):  # EIO: the last that held the terminal is gone (pty(7))
        while data := os.read(source, _CHUNK):
            seen(data)
            _write(target, data)


def _write(target: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(target, left) :]
