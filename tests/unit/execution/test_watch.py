"""One timer per connection: it fires when it must and not before, exchange after exchange."""

from __future__ import annotations

import asyncio

import pytest

from portcullis.execution.watch import Watch

pytestmark = pytest.mark.anyio


@pytest.fixture
def fired() -> list[float]:
    return []


@pytest.fixture
async def watch(fired):
    made = Watch(lambda: fired.append(asyncio.get_running_loop().time()))
    yield made
    made.close()


async def test_it_fires_at_the_deadline_once(watch, fired):
    watch.start(0.02)
    await asyncio.sleep(0.1)
    assert len(fired) == 1


async def test_it_does_not_fire_after_the_exchange(watch, fired):
    watch.start(0.02)
    watch.stop()
    await asyncio.sleep(0.05)
    watch.start(0.02)
    watch.close()
    watch.close()
    await asyncio.sleep(0.05)
    assert fired == []


async def test_a_later_exchange_gets_its_whole_time_though_the_timer_was_armed_before(watch, fired):
    watch.start(0.06)
    await asyncio.sleep(0.04)
    watch.stop()
    watch.start(0.1)
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(0.07)
    assert fired == []
    await asyncio.sleep(0.1)
    assert len(fired) == 1
    assert fired[0] - begun >= 0.1


async def test_a_shorter_exchange_does_not_wait_for_the_longer_timer_before_it(watch, fired):
    watch.start(60)
    watch.stop()
    watch.start(0.02)
    await asyncio.sleep(0.1)
    assert len(fired) == 1


async def test_silence_counts_only_while_waiting(watch, fired):
    watch.start(5)
    watch.stream(5, 0.03)
    await asyncio.sleep(0.1)
    assert fired == []
    watch.wait()
    watch.heard()
    await asyncio.sleep(0.05)
    assert fired == []
    watch.wait()
    await asyncio.sleep(0.1)
    assert len(fired) == 1


async def test_a_streams_silence_does_not_count_in_the_next_exchange(watch, fired):
    watch.start(5)
    watch.stream(5, 0.02)
    watch.wait()
    watch.stop()
    watch.start(5)
    watch.wait()
    await asyncio.sleep(0.1)
    assert fired == []


async def test_a_stream_ends_at_its_deadline_however_busy(watch, fired):
    watch.start(5)
    watch.stream(0.05, 1)
    for _ in range(20):
        watch.wait()
        await asyncio.sleep(0.005)
        watch.heard()
    assert len(fired) == 1
