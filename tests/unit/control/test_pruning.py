"""If these fail, the gate prunes what policy still keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from portcullis.audit.retention_holds import Hold
from portcullis.config.retention import Kept, Retention
from portcullis.control.pruning import Pruning, PruningParts

pytestmark = pytest.mark.anyio

DAY = 86_400.0


async def test_a_clock_that_is_put_back_after_the_plan_makes_nothing_go_too_soon() -> None:
    asked: list[Mapping[str, float]] = []

    def due(segment: int, end: int, before: Mapping[str, float], *_: Any) -> dict[str, list[int]]:
        asked.append(before)
        return {}

    now = [1000 * DAY]
    kept = Retention(default=Kept(min_days=90, max_days=90))
    pruner: Any = SimpleNamespace(end=lambda: 256, due=due)
    privacy: Any = SimpleNamespace(acting=asyncio.Lock(), book=SimpleNamespace(in_force=lambda: ()))
    work = Pruning(PruningParts(pruner, kept, lambda: now[0]), privacy)
    before = work.before()
    now[0] -= 2 * DAY
    await work.step(0, before, None)
    assert set(asked[0].values()) == {908 * DAY}


async def test_a_hold_that_another_process_makes_while_it_looks_keeps_what_it_covers() -> None:
    hold = Hold(id="h", kind="session", target="s", tags={}, reason="case 7", by="o", since=0.0)
    holds: list[tuple[Hold, ...]] = [(), (hold,), (hold,), (hold,)]
    given: list[tuple[Hold, ...]] = []
    gone: list[list[int]] = []

    def due(*asked: Any) -> dict[str, list[int]]:
        given.append(asked[3])
        return {"tool_call": [2] if asked[3] else [1, 2]}

    async def tell(name: str, said: Mapping[str, Any]) -> None:
        del name, said

    kept = Retention(default=Kept(max_days=90))
    pruner: Any = SimpleNamespace(end=lambda: 256, due=due, carry_out=gone.append)
    book = SimpleNamespace(in_force=lambda: holds.pop(0))
    privacy: Any = SimpleNamespace(acting=asyncio.Lock(), book=book)
    work = Pruning(PruningParts(pruner, kept, lambda: 1000 * DAY), privacy)
    first = await work.step(0, work.before(), tell)
    assert (first.segment, first.following, gone) == (None, 0, [])
    await work.step(0, work.before(), tell)
    assert (given, gone) == ([(), (hold,)], [[2]])
