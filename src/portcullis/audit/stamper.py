"""Asking one authority for timestamps over the log's checkpoint, again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.x509 import Certificate

from portcullis.audit.note import Verifier
from portcullis.audit.replica.worker import Alarm, Notice
from portcullis.audit.timestamps import ask, keep, newest
from portcullis.audit.verify import read_checkpoint
from portcullis.audit.web import Web
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock


class Stamper:
    """Keeps the tokens of one authority. ``step`` is for one thread; the figures are for any.

    ``notice`` records ``audit.timestamp.overdue`` when for more than ``overdue_seconds`` there was
    no token over what was published, and when there is one again.
    """

    def __init__(
        self,
        name: str,
        url: str,
        roots: Sequence[Certificate],
        directory: Path,
        verifier: Verifier,
        *,
        web: Web,
        clock: Clock,
        notice: Notice,
        overdue_seconds: float,
    ) -> None:
        self.name = name
        self._url = url
        self._roots = roots
        self._directory = directory
        self._verifier = verifier
        self._web = web
        self._clock = clock
        self._most = overdue_seconds
        self._overdue = Alarm(notice, "audit.timestamp.overdue", {"authority": name})
        last = newest(directory, name)
        self._size = last[0] if last else 0
        self._good_at = last[1].timestamp() if last else clock.now()
        self.failures = 0

    def age(self) -> float:
        """Seconds since the last token, or since it covered all that was published."""
        return max(0.0, self._clock.now() - self._good_at)

    def step(self) -> None:
        """Get a token over the checkpoint, unless there is one; Problem PC6022 when there is none.

        Raises Problem PC6005 when the checkpoint does not verify.
        """
        try:
            signed, note = read_checkpoint(self._directory, self._verifier)
            if signed.size > self._size:
                response = ask(self._url, note, self._roots, self._web)
                keep(self._directory, signed.size, self.name, note, response)
                self._size = signed.size
            self._good_at = self._clock.now()
        except OSError as error:
            raise Problem("PC6022", f"it cannot be kept: {error.strerror}") from None
        finally:
            self.watch()

    def failed(self, problem: Problem) -> None:
        """Take note of a step that failed."""
        del problem
        self.failures += 1

    def watch(self) -> None:
        """Raise or clear the alarm."""
        seconds = self.age()
        with contextlib.suppress(Problem):  # the log takes nothing; the next call says it
            if seconds > self._most:
                self._overdue.begin(seconds=f"{seconds:.0f}")
            else:
                self._overdue.end()
