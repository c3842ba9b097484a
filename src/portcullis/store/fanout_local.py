"""A fan-out within one process and one event loop: for tests, and where there is nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from portcullis.core.fanout import Heard


class LocalHub:
    """Implements ``core.fanout.Hub``; ``line`` makes followers' ends."""

    def __init__(self) -> None:
        self._heard: Heard | None = None
        self._lines: dict[str, LocalLine] = {}

    def line(self, name: str) -> LocalLine:
        """The end of the follower ``name``."""
        return LocalLine(self, name)

    async def open(self) -> None:
        """Nothing to begin."""

    async def run(self, heard: Heard) -> None:
        """Serve until cancelled."""
        self._heard = heard
        try:
            for line in tuple(self._lines.values()):
                line.up()
            await asyncio.Future()
        finally:
            self._heard = None

    def send(self, frame: bytes, to: str = "") -> None:
        """Send to all, or to one."""
        for name, line in self._lines.items():
            if to in {"", name}:
                _soon(line.heard, frame)

    def join(self, name: str, line: LocalLine) -> None:
        """A follower is there."""
        self._lines[name] = line
        if self._heard is not None:
            line.up()

    def leave(self, name: str, line: LocalLine) -> None:
        """It is gone."""
        if self._lines.get(name) is line:
            del self._lines[name]

    def hear(self, frame: bytes) -> None:
        """A follower said something."""
        if self._heard is not None:
            _soon(self._heard, frame)


class LocalLine:
    """Implements ``core.fanout.Line``."""

    def __init__(self, hub: LocalHub, name: str) -> None:
        self._hub = hub
        self._name = name
        self._joined: Callable[[], None] | None = None
        self._heard: Heard | None = None

    async def run(self, heard: Heard, joined: Callable[[], None]) -> None:
        """Follow until cancelled."""
        self._heard, self._joined = heard, joined
        self._hub.join(self._name, self)
        try:
            await asyncio.Future()
        finally:
            self._hub.leave(self._name, self)
            self._heard = self._joined = None

    def send(self, frame: bytes) -> None:
        """Say something to the publisher."""
        self._hub.hear(frame)

    def heard(self, frame: bytes) -> None:
        """The publisher said something."""
        if self._heard is not None:
            self._heard(frame)

    def up(self) -> None:
        """There is a publisher."""
        if self._joined is not None:
            self._joined()


def _soon(call: Heard, frame: bytes) -> None:
    asyncio.get_running_loop().call_soon(call, frame)
