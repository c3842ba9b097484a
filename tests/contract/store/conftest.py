"""Every store adapter passes these suites, on every database; ``databases`` makes them."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from databases import KINDS, Database
from portcullis.identity.sealing import Envelope
from sealers import sealer_at


class TurnableClock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(params=KINDS)
def database(request, tmp_path) -> Iterator[Database]:
    """A new database of each kind, with all tables and no row."""
    with Database.of(request, tmp_path) as made:
        yield made


@pytest.fixture
def reopen(database) -> Iterator[Callable[[], Engine]]:
    """Opens the same database anew each time, as a restart would."""
    engines: list[Engine] = []

    def open_again() -> Engine:
        engines.append(database.open())
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
