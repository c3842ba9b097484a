"""A log, a store, and what is noticed about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from audit_logs import Log
from portcullis.audit.replica.ship import Shipper
from portcullis.audit.replica.source import download
from portcullis.audit.verify import Report, verify
from portcullis.core.errors import Problem
from portcullis.store.objects import Objects


class TurnableClock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Faulty(Objects):
    """A store in memory that can be away, or break off after some puts."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.away = False
        self.puts_left = 10**9
        self.written: list[str] = []

    def put(self, path: str, data: bytes, **options: Any) -> bool:
        if self.away or not self.puts_left:
            raise Problem("PC6021", "away")
        self.puts_left -= 1
        options.pop("retention", None)
        made = super().put(path, data, **options)
        if made:
            self.written.append(path)
        return made

    def get(self, path: str, limit: int) -> bytes | None:
        if self.away:
            raise Problem("PC6021", "away")
        return super().get(path, limit)


class Notices(list[tuple[str, dict[str, str]]]):
    def __call__(self, method: str, parameters: dict[str, str]) -> None:
        self.append((method, parameters))

    def states(self, method: str) -> list[str]:
        return [said["state"] for name, said in self if name == method]


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture
def store() -> Faulty:
    return Faulty()


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def shipper(
    log: Log, store: Faulty, clock: TurnableClock, notices: Notices
) -> Callable[[], Shipper]:
    def make() -> Shipper:
        return Shipper(
            "far",
            log.directory,
            log.verifier,
            store,
            clock=clock,
            notice=notices,
            lag_seconds=60,
        )

    return make


@pytest.fixture
def checked(log: Log, store: Faulty, tmp_path: Path) -> Callable[[], Report]:
    """What ``verify`` says of the store's copy."""
    count = iter(range(100))

    def check() -> Report:
        folder = tmp_path / f"copy-{next(count)}"
        folder.mkdir()
        download(store.get, log.verifier, folder)
        return verify(folder, log.verifier)

    return check
