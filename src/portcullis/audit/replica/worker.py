"""A thread that does one thing over and over, and an alarm that says it once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from typing import Final

from portcullis.core.errors import Problem

Notice = Callable[[str, dict[str, str]], None]
"""Records what happened: a method's name and its parameters. Raises Problem PC6001."""

_STOP_SECONDS: Final = 2.0
_random: Final = secrets.SystemRandom()


class Worker:
    """Does ``step`` every so many seconds until ``close``, in a thread of its own.

    After a Problem, which ``failed`` is told, it waits a second, then two, and so on up to
    ``most`` seconds, each time somewhat less by chance.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        failed: Callable[[Problem], None],
        *,
        seconds: float,
        most: float,
    ) -> None:
        self._step = step
        self._failed = failed
        self._seconds = seconds
        self._most = most
        self._closing = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._closing.set()

    def close(self, seconds: float = _STOP_SECONDS) -> None:
        """Stop; wait at most so long for a step that is under way."""
        self.stop()
        self._thread.join(seconds)

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                self._step()
                failures, wait = 0, self._seconds
            except Problem as problem:
                self._failed(problem)
                wait = min(self._most, 2.0 ** min(failures, 20)) * _random.uniform(0.5, 1)
                failures += 1
            except Exception as error:  # noqa: BLE001 - whatever it was, the thread goes on
                self._failed(Problem("PC9002", type(error).__name__))
                wait = self._most
            self._closing.wait(wait)


def close_all(workers: Sequence[Worker], seconds: float = _STOP_SECONDS) -> None:
    """Stop all of them; wait at most so long for them together."""
    for worker in workers:
        worker.stop()
    until = time.monotonic() + seconds
    for worker in workers:
        worker.close(max(0.0, until - time.monotonic()))


class Alarm:
    """Has something noticed once when it begins and once when it is over.

    A notice that could not be recorded is tried again with the next call.
    """

    def __init__(self, notice: Notice, method: str, subject: Mapping[str, str]) -> None:
        self._notice = notice
        self._method = method
        self._subject = subject
        self.on = False

    def begin(self, **said: str) -> None:
        """It is so; ``said`` stands in the notice."""
        if not self.on:
            self._notice(self._method, {**self._subject, "state": "raised", **said})
            self.on = True

    def end(self, **said: str) -> None:
        """It is not, or no longer."""
        if self.on:
            self._notice(self._method, {**self._subject, "state": "cleared", **said})
            self.on = False
