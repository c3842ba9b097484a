"""A real command on a real (pseudo) terminal: what it writes, keys, signals, what it leaves."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()].|[=>])")
PORTCULLIS = (sys.executable, "-c", "from portcullis.cli import main; main()")
ENTER = "\r"
DOWN = "\x1b[B"


def _environ():
    """Ours, but for the size of whatever terminal the tests run in."""
    return {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}


_QUESTIONS = {"\x1b[5n": "\x1b[0n", "\x1b[6n": "\x1b[1;1R"}
"""What a terminal answers to: is it well, and where is the cursor."""


class Terminal:
    """A command; ``text`` is all that it wrote, ``plain`` that without control sequences.

    It answers questions as terminals do, ``far`` seconds later.
    """

    def __init__(self, words, rows=24, columns=100, far=0.0, **environ):
        self._far, self._answered = far, 0
        self._mine, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        self._seen = 0
        self.process = subprocess.Popen(
            words,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            env=_environ() | {"TERM": "xterm-256color", "NO_COLOR": ""} | environ,
        )

    @property
    def plain(self):
        return _SEQUENCE.sub("", self.text)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, text):
        os.write(self._mine, text.encode())

    def read(self, seconds=0.1):
        """What is written within that time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._mine], [], [], left)[0]:
                return
            self.text += os.read(self._mine, 65536).decode(errors="replace")
            self._answer()

    def _answer(self):
        for found in re.finditer(r"\x1b\[[56]n", self.text):
            if found.start() >= self._answered:
                self._answered = found.end()
                time.sleep(self._far)
                self.press(_QUESTIONS[found[0]])

    def waiting(self):
        """How many bytes were typed, or answered, that nobody has read."""
        return struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, bytes(4)))[0]

    def expect(self, wanted, seconds=15.0):
        """Wait until that is written after what was expected last."""
        until = time.monotonic() + seconds
        while (at := self.plain.find(wanted, self._seen)) < 0:
            if time.monotonic() > until:
                raise AssertionError(f"no {wanted!r} in {self.plain[self._seen :][-1500:]!r}")
            self.read()
        self._seen = at + len(wanted)

    def end(self, seconds=10.0):
        """Wait for its end; its exit code."""
        until = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < until:
            self.read(0.05)
        self.read(0.05)
        return self.process.wait(0.1)

    def restored(self):
        """Whether the terminal is as it was: its modes, its main screen, its cursor, pastes."""
        on_main = self.text.rfind("\x1b[?1049l") >= self.text.rfind("\x1b[?1049h")
        visible = self.text.rfind("\x1b[?25h") >= self.text.rfind("\x1b[?25l")
        unmarked = self.text.rfind("\x1b[?2004l") >= self.text.rfind("\x1b[?2004h")
        same = termios.tcgetattr(self.slave) == self.before
        return same and on_main and visible and unmarked

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        os.close(self._mine)
        os.close(self.slave)


@contextlib.contextmanager
def terminal(*words, **settings):
    """``portcullis WORDS`` on a terminal of its own, until the block ends."""
    found = Terminal((*PORTCULLIS, *words), **settings)
    try:
        yield found
    finally:
        found.close()
