"""Every store adapter passes these suites; a new database joins with one factory in ``STORES``."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from portcullis.identity.sealing import Envelope
from portcullis.store.engine import open_sqlite
from sealers import sealer_at


class TurnableClock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def _sqlite(folder: Path) -> Engine:
    return open_sqlite(folder / "portcullis.db")


STORES = {"sqlite": _sqlite}


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(params=sorted(STORES))
def reopen(request, tmp_path) -> Iterator[Callable[[], Engine]]:
    """Opens the same database anew each time, as a restart would."""
    engines: list[Engine] = []

    def open_again() -> Engine:
        engines.append(STORES[request.param](tmp_path))
        return engines[-1]

    yield open_again
    for engine in engines:
        engine.dispose()


@pytest.fixture
def engine(reopen) -> Engine:
    return reopen()


@pytest.fixture
def sealer(tmp_path) -> Envelope:
    return sealer_at(tmp_path)
