"""If these fail, a gate keeps for ever what policy says has to go, and nobody hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from portcullis.audit.pruned import SEGMENT
from portcullis.bootstrap.background import background
from portcullis.bootstrap.retention import pruning
from portcullis.config.retention import Kept, Retention
from portcullis.control.pruning import Pruning, PruningParts
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio

MINUTE, DAY = 60.0, 86_400.0
SEGMENTS = (0, SEGMENT, 2 * SEGMENT)


class World:
    """A log of three segments, each with one old entry, and a clock that only sleep moves.

    ``nights`` are how long the loop wanted to sleep; after the last of ``days`` it sleeps on.
    """

    def __init__(self, days: int, faults: Callable[[int], Exception | None] = lambda _: None):
        self.now = 1000 * DAY
        self.nights: list[float] = []
        self.asked: list[tuple[int, float]] = []
        self.gone: list[int] = []
        self.told: list[Any] = []
        self.over = asyncio.Event()
        self._days = days
        self._faults = faults
        self.acting = asyncio.Lock()
        parts = PruningParts(self, Retention(default=Kept(max_days=90)), lambda: self.now)  # type: ignore[arg-type]
        holds = SimpleNamespace(in_force=lambda: ())
        work = Pruning(parts, SimpleNamespace(acting=self.acting, book=holds))  # type: ignore[arg-type]
        self.services: Any = SimpleNamespace(
            pruning=lambda: work,
            gateway="example.org/gate",
            clock=SimpleNamespace(now=lambda: self.now),
            recorder=SimpleNamespace(durable=self._durable),
        )

    size = 3 * SEGMENT

    def end(self) -> int:
        return self.size

    def due(self, segment: int, _: int, before: Mapping[str, float], *__: Any) -> dict[str, Any]:
        self.asked.append((segment, before["tool_call"]))
        fault = self._faults(segment)
        if fault is not None:
            raise fault
        return {} if segment in self.gone else {"tool_call": [segment]}

    def carry_out(self, numbers: list[int]) -> None:
        self.gone += numbers

    async def sleep(self, seconds: float) -> None:
        self.nights.append(seconds)
        if len(self.nights) > self._days:
            self.over.set()
            await asyncio.Event().wait()
        self.now += seconds

    async def _durable(self, event: Any) -> None:
        self.told.append(event)

    async def days(self) -> None:
        """Run it as a gate does, until its last day is over."""
        async with background(pruning(self.services, self.sleep)), asyncio.timeout(5):
            await self.over.wait()


async def test_a_gate_prunes_soon_after_its_start_and_every_day_by_the_clock_of_then() -> None:
    world = World(days=3)
    await world.days()
    assert world.nights == [MINUTE, DAY, DAY, DAY]
    first = 910 * DAY + MINUTE  # what is older than 90 days
    assert world.asked == [(segment, first + day * DAY) for day in range(3) for segment in SEGMENTS]
    assert world.gone == [*SEGMENTS]
    assert [event.method for event in world.told] == ["audit.prune"] * 3
    assert [event.parameters["first"] for event in world.told] == [*SEGMENTS]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Problem("PC6005", "not the entries of the tree"), "PC6005"),
        (OperationalError("UPDATE", {}, Exception("locked")), "OperationalError"),
        (OSError(5, "Input/output error"), "OSError"),
        (ValueError("damaged"), "ValueError"),
    ],
    ids=["damaged", "database", "disk", "unforeseen"],
)
async def test_a_fault_costs_one_segment_one_day_and_is_told(fault: Exception, said: str) -> None:
    def faults(segment: int) -> Exception | None:
        first_day = world.nights == [MINUTE]
        return fault if first_day and segment == SEGMENTS[1] else None

    world = World(days=2, faults=faults)
    with capture_logs() as logs:
        await world.days()
    assert world.gone == [SEGMENTS[0], SEGMENTS[2], SEGMENTS[1]]
    (warned,) = [one for one in logs if one["event"] == "log_not_pruned"]
    assert (warned["fault"], warned["segment"]) == (said, SEGMENTS[1])


async def test_a_gate_that_cannot_record_prunes_nothing_and_tries_again() -> None:
    world = World(days=2)

    async def full(event: Any) -> None:
        if world.nights == [MINUTE]:
            raise Problem("PC6001", "the disk is full")
        world.told.append(event)

    world.services.recorder.durable = full
    await world.days()
    assert (len(world.told), world.gone) == (3, [*SEGMENTS])


@pytest.mark.parametrize("when", ["before its first run", "between runs", "in the middle of one"])
async def test_it_stops_with_the_gate(when: str) -> None:
    world = World(days=0 if when == "before its first run" else 1)
    if when == "in the middle of one":
        world.services.recorder.durable = lambda _: _forever(world.over)
    async with background(pruning(world.services, world.sleep)), asyncio.timeout(5):
        await world.over.wait()
        tasks = asyncio.all_tasks()
    assert asyncio.all_tasks() < tasks
    assert not world.acting.locked()  # an erasure on the way out is not kept waiting
    assert world.gone == ([*SEGMENTS] if when == "between runs" else [])


async def _forever(begun: asyncio.Event) -> None:
    begun.set()
    await asyncio.Event().wait()
