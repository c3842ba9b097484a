"""If these fail, spans that wait take the memory of the gate, or are lost without being counted."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from portcullis.audit.export.target import Refused, Unavailable
from portcullis.core.trace import Trace
from portcullis.execution import spans as module
from portcullis.execution.spans import Fate, Spans

pytestmark = pytest.mark.anyio


class Collector:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.taken = 0
        self.closed = False

    async def send(self, batch):
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.taken += 1

    async def close(self):
        self.closed = True


def delivering(collector, queue=256):
    fates = Counter()
    counted = lambda fate, many: fates.update({fate: many})  # noqa: E731 - two words
    return Spans(collector, "example.org/gate", "1", queue=queue, count=counted), fates


def trace(parts=9):
    found = Trace("a" * 32, "x", lambda: 1)
    for _ in range(parts):
        found.begin("part")
    found.end()
    return found


async def run(spans, done):
    work = asyncio.ensure_future(spans.run())
    try:
        for _ in range(12_000):
            if done():
                break
            await asyncio.sleep(0.005)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await spans.close()


async def test_what_finds_the_queue_full_is_dropped_and_counted():
    collector = Collector()
    spans, fates = delivering(collector, queue=100)
    for _ in range(12):
        spans.put(trace())
    assert fates == {Fate.DROPPED: 20}
    await run(spans, lambda: fates[Fate.SENT] == 100)
    assert collector.closed
    assert fates[Fate.DROPPED] == 20


async def test_a_collector_that_is_away_is_asked_again_and_one_that_refuses_is_not(monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    collector = Collector(Unavailable("away"), Unavailable("away", 9), Refused("no"))
    spans, fates = delivering(collector)
    spans.put(trace())
    await run(spans, lambda: fates[Fate.REFUSED] == 10)
    assert fates == {Fate.REFUSED: 10, Fate.DROPPED: 0}
    assert collector.taken == 0


async def test_a_stop_sends_what_it_can_and_counts_what_it_cannot():
    collector = Collector()
    spans, fates = delivering(collector)
    spans.put(trace())
    await spans.close()
    assert (fates[Fate.SENT], collector.taken) == (10, 1)
    spans, fates = delivering(Collector(Unavailable("away")))
    spans.put(trace())
    await spans.close()
    assert fates == {Fate.DROPPED: 10}
