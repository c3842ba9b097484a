"""Delivers the spans of traced requests to a collector: OTLP/HTTP, in batches, beside the gate.

A trace waits in a queue that is bounded; what finds it full is dropped and counted. A collector
that is slow, away or hangs costs spans, and never a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from itertools import count
from typing import Final

from portcullis.audit.export.target import Batch, Refused, Rejected, Target, Unavailable
from portcullis.core.trace import Trace
from portcullis.wire import otlp_trace
from portcullis.wire.otlp_fields import CONTENT_TYPE

BATCH_SPANS: Final = 512
_POLL_SECONDS: Final = 0.5
_BACKOFF_SECONDS: Final = (1.0, 30.0)
_LAST_SECONDS: Final = 1.0
"""So long a stop lets the last batch take."""
_SLICE: Final = 4
"""So many traces are encoded without letting the gate's own thread run."""
_PAUSE: Final = 0.0005


class Fate(StrEnum):
    """What became of a span."""

    SENT = "sent"
    DROPPED = "dropped"
    REFUSED = "refused"


class Spans:
    """The queue of one gate, and its delivery: run by a thread of its own (``ExportThread``).

    ``count`` is told how many spans had which fate. Spans are sent once: a batch that the
    collector may not have taken is sent again until it answers, and what it refuses is not.
    """

    def __init__(
        self,
        target: Target,
        gateway: str,
        version: str,
        *,
        queue: int,
        count: Callable[[Fate, int], None],
    ) -> None:
        self._target = target
        self._gateway = gateway
        self._version = version
        self._most = queue
        self._count = count
        self._lock = threading.Lock()
        self._traces: deque[Trace] = deque()
        self._waiting = 0
        self._batch: list[bytes] = []

    def put(self, trace: Trace) -> None:
        """Take a trace that is over. Returns at once, and never raises."""
        size = len(trace.spans)
        with self._lock:
            room = self._waiting + size <= self._most
            if room:
                self._waiting += size
                self._traces.append(trace)
        if not room:
            self._count(Fate.DROPPED, size)

    async def run(self) -> None:
        """Deliver until cancelled."""
        wait = _BACKOFF_SECONDS[0]
        while True:
            await self._fill()
            try:
                await self._deliver()
            except Unavailable as away:
                await asyncio.sleep(max(wait, min(away.after, _BACKOFF_SECONDS[1])))
                wait = min(2 * wait, _BACKOFF_SECONDS[1])
                continue
            wait = _BACKOFF_SECONDS[0]
            if not self._traces:
                await asyncio.sleep(_POLL_SECONDS)

    async def close(self) -> None:
        """Deliver one more batch, if that is quickly done; what is left is dropped."""
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._fill()
                await self._deliver()
        await self._target.close()
        self._count(Fate.DROPPED, len(self._batch) + self._waiting)

    async def _fill(self) -> None:
        """Encode what waits, up to a batch."""
        for number in count(1):
            if not self._traces or len(self._batch) >= BATCH_SPANS:
                return
            with self._lock:
                trace = self._traces.popleft()
                self._waiting -= len(trace.spans)
            self._batch += otlp_trace.spans(trace)
            if number % _SLICE == 0:
                await asyncio.sleep(_PAUSE)

    async def _deliver(self) -> None:
        if not self._batch:
            return
        body = otlp_trace.request(self._batch, self._gateway, self._version)
        fate = Fate.SENT
        try:
            await self._target.send(Batch(id="", body=body, content_type=CONTENT_TYPE))
        except (Refused, Rejected):
            fate = Fate.REFUSED
        self._count(fate, len(self._batch))
        self._batch = []
