"""What happens in several logs at once, while somebody watches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog

from portcullis.audit.export.source import Source
from portcullis.audit.merkle import TILE_WIDTH
from portcullis.audit.verify import own_verifier
from portcullis.core.errors import Problem

LOOK_SECONDS: Final = 0.25

Watcher = Callable[[Sequence[bytes]], None]

log = structlog.get_logger(__name__)


class _Own(Protocol):
    def watch(self, watcher: Watcher | None) -> None: ...


class Beside:
    """Hands over a process's own log as it is written, and those beside it as they are signed.

    ``others`` says which those are, by name, and is asked each time: one that is new is read from
    its beginning, the others from where they are when somebody begins to watch. The watcher gets
    entries on a thread, and returns at once.
    """

    def __init__(
        self,
        own: _Own,
        others: Callable[[], Mapping[str, Path]],
        seconds: float = LOOK_SECONDS,
    ) -> None:
        self._own = own
        self._others = others
        self._seconds = seconds
        self._over: threading.Event | None = None

    def watch(self, watcher: Watcher | None) -> None:
        """Hand over what comes from now on; with None nothing more."""
        self._own.watch(watcher)
        if self._over is not None:
            self._over.set()
            self._over = None
        if watcher is not None:
            self._over = threading.Event()
            reading = (watcher, self._over)
            threading.Thread(target=self._read, args=reading, daemon=True, name="beside").start()

    def _read(self, watcher: Watcher, over: threading.Event) -> None:
        sources: dict[str, Source] = {}
        places: dict[str, int] = {}
        first = True
        while not over.is_set():
            for name, directory in self._others().items():
                try:
                    if name not in sources:
                        sources[name] = Source(directory, own_verifier(directory))
                    size = sources[name].refresh()
                    start = places.setdefault(name, size if first else 0)
                    while start < size and not over.is_set():
                        found = sources[name].read(start, TILE_WIDTH)
                        watcher([entry for _, entry in found if entry])
                        start += len(found)
                        places[name] = start
                except (Problem, OSError) as error:
                    sources.pop(name, None)
                    log.warning("log_not_watched", log=name, fault=type(error).__name__)
            first = False
            over.wait(self._seconds)
