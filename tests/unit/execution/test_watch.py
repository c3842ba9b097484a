"""One timer per exchange: it fires when it must and not before."""

from __future__ import annotations

import asyncio

import pytest

from portcullis.execution.watch import Watch

pytestmark = pytest.mark.anyio


async def test_it_fires_at_the_deadline_once():
    fired: list[int] = []
    watch = Watch(0.02, lambda: fired.append(1))
    await asyncio.sleep(0.1)
    assert fired == [1]
    assert watch.expired


async def test_it_does_not_fire_after_cancel():
    fired: list[int] = []
    watch = Watch(0.02, lambda: fired.append(1))
    watch.cancel()
    watch.cancel()
    await asyncio.sleep(0.05)
    assert fired == []
    assert not watch.expired


async def test_silence_counts_only_while_waiting():
    fired: list[int] = []
    watch = Watch(5, lambda: None)
    watch.stream(5, 0.03, lambda: fired.append(1))
    await asyncio.sleep(0.1)
    assert fired == []
    watch.wait()
    watch.heard()
    await asyncio.sleep(0.05)
    assert fired == []
    watch.wait()
    await asyncio.sleep(0.1)
    assert fired == [1]


async def test_a_stream_ends_at_its_deadline_however_busy():
    fired: list[int] = []
    watch = Watch(5, lambda: None)
    watch.stream(0.05, 1, lambda: fired.append(1))
    for _ in range(20):
        watch.wait()
        await asyncio.sleep(0.005)
        watch.heard()
    assert fired == [1]
