"""The terminal in the hands of a view that lives: keys as they are pressed, and all put back.

While it is held, keys come one by one and are not echoed, nothing suspends the process, and the
terminal says what was pasted. At the end, whatever ended it (an exception, SIGINT, SIGQUIT,
SIGTERM, SIGHUP), the terminal is as it was.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

_ESCAPE_SECONDS: Final = 0.05
"""So long the rest of a key's sequence may take; after that it was the escape key."""
_QUIET_SECONDS, _FORGET_SECONDS = 0.3, 2.0
"""So long nothing may come before what was typed ahead is over; so long it is let go at a time."""
PASTED: Final = "pasted:"
"""What was pasted is one key: this and the text, in one line."""
_BEGIN, _END = "\x1b[200~", "\x1b[201~"
_KEY: Final = re.compile(
    r"\x1b\[200~(?P<pasted>.*?)\x1b\[201~|\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])|.", re.DOTALL
)
_HALF: Final = re.compile(r"\x1b(?:\[[0-9;]*|O)?\Z")
_LONGEST_PASTE: Final = 65536
_NAMES: Final = {
    "\x1b": "escape",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\r": "enter",
    "\n": "enter",
    "\x15": "clear",
}
_SEQUENCES: Final = {
    "A": "up",
    "B": "down",
    "H": "home",
    "F": "end",
    "5~": "pageup",
    "6~": "pagedown",
}
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def keys_in(text: str) -> list[str]:
    """The keys that a terminal says so: names (``up``, ...), printable characters, ``PASTED``."""
    found = (_named(key) for key in _KEY.finditer(text))
    return [key for key in found if key]


def _named(found: re.Match[str]) -> str:
    key, pasted = found[0], found["pasted"]
    if pasted is not None:
        said = " ".join(pasted.split())
        return PASTED + "".join(c for c in said if c.isprintable())
    if key in _NAMES:
        return _NAMES[key]
    if key.startswith("\x1b"):
        return _SEQUENCES.get(key[2:], "")
    return key if key.isprintable() else ""


def interactive() -> bool:
    """Whether somebody sits before it: both ways are a terminal, and it can place a cursor."""
    both = sys.stdin.isatty() and sys.stdout.isatty()
    return both and os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}


class Keys:
    """The keys of a terminal that is held; ``wake`` is for other threads and signals."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._decode = codecs.getincrementaldecoder("utf-8")("ignore").decode
        self._unfinished = ""
        self._woken, self._waking = os.pipe()
        for end in (self._woken, self._waking):
            os.set_blocking(end, False)

    def wake(self) -> None:
        """End ``wait`` now."""
        with contextlib.suppress(OSError):  # full: it is awake; closed: nobody waits any more
            os.write(self._waking, b"\0")

    def wait(self, seconds: float) -> list[str]:
        """The keys that are pressed next; none after that time, or when it is woken.

        Raises EOFError when the terminal is gone.
        """
        ready, _, _ = select.select([self._terminal, self._woken], [], [], seconds)
        if self._woken in ready:
            os.read(self._woken, 4096)
        return self._next() if self._terminal in ready else []

    def forget(self) -> bool:
        """Let go of what was typed ahead; whether nothing came for a moment. Raises EOFError."""
        end = time.monotonic() + _FORGET_SECONDS
        while self._more(_QUIET_SECONDS):
            self._next()
            if time.monotonic() > end:
                return False
        return True

    def close(self) -> None:
        """Let its pipe go."""
        os.close(self._woken)
        os.close(self._waking)

    def _next(self) -> list[str]:
        """The keys that are there; of a paste nothing until its end is."""
        text = self._unfinished + self._read()
        while _HALF.search(text) and self._more():
            text += self._read()
        begun = text.find(_BEGIN, text.rfind(_END) + 1)
        half = _HALF.search(text)
        if begun < 0 and half and half[0] != "\x1b":  # nobody types that so fast
            begun = half.start()
        text, rest = (text, "") if begun < 0 else (text[:begun], text[begun:])
        if len(rest) > _LONGEST_PASTE:  # nobody reads that; only its end is waited for
            rest = _BEGIN + rest[-len(_END) :]
        self._unfinished = rest
        return keys_in(text)

    def _more(self, seconds: float = _ESCAPE_SECONDS) -> bool:
        return bool(select.select([self._terminal], [], [], seconds)[0])

    def _read(self) -> str:
        try:
            content = os.read(self._terminal, 4096)
        except OSError:
            content = b""
        if not content:
            raise EOFError
        return self._decode(content)


def _say(sequence: str) -> None:
    with contextlib.suppress(OSError):  # it may be gone
        os.write(sys.stdout.fileno(), sequence.encode())


@contextlib.contextmanager
def held() -> Iterator[Keys]:
    """The terminal on stdin, until the block ends."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    keys = Keys(terminal)
    handlers: dict[signal.Signals, Any] = {}

    def end(number: int, _: object) -> NoReturn:
        for one in _ENDING:  # the way out is walked once
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    def catch(number: signal.Signals, handler: Callable[[int, Any], None]) -> None:
        handlers[number] = signal.signal(number, handler)

    try:
        for number in _ENDING:
            catch(number, end)
        catch(signal.SIGWINCH, lambda _number, _frame: keys.wake())
        tty.setcbreak(terminal)
        mode = termios.tcgetattr(terminal)
        mode[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(terminal, termios.TCSANOW, mode)
        _say("\x1b[?2004h")
        yield keys
    finally:
        _say("\x1b[?2004l")
        with contextlib.suppress(termios.error):  # it may be gone
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        keys.close()
