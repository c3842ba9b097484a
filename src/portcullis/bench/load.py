"""The load generator: some connections, one epoll, nothing else.

Run as ``python -m portcullis.bench.load``: a Plan (JSON) on standard input, an Outcome on standard
output. It is a process of its own and must cost less than what it measures.

Closed loop: each connection sends its next call when the last one is answered. Open loop: calls
are due at random moments (a Poisson process of the given rate) whether or not a connection is
free, and latency counts from the moment when the call was due, so that the calls that a slow
answer delays are not left out ("coordinated omission").
"""

from __future__ import annotations

import gc
import math
import random
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from portcullis.bench import cpu
from portcullis.bench.connection import OK, Connection, request_bytes

_DRAIN_SECONDS: Final = 2.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One cell: what to send, where, how.

    ``rate`` is calls per second for an open loop, None for a closed one. ``tail`` is what the
    last piece of a complete answer ends with. ``session`` is the process session (see ``cpu``)
    whose processor time is counted. ``warm`` seconds come before the measured ``seconds``.
    """

    port: int
    path: str
    token: str
    body: bytes
    tail: bytes
    connections: int
    seconds: float
    session: int
    rate: float | None = None
    warm: float = 0.15
    seed: int = 1


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell gave: latencies in milliseconds, processor time in microseconds per call.

    ``calls`` were answered rightly within ``seconds``; ``errors`` were not answered rightly, the
    first of them with ``first_error`` (an HTTP status, or ``connection.BROKEN``). In an open loop
    the percentiles cover every call that was due within ``seconds``, and those that were given up
    on count as slow as they were by then.
    """

    calls: int
    errors: int
    first_error: int | None
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    load_us: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile (``share`` in 0..1) of ascending values; 0 without any."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Drive:
    """One cell as it runs. ``clock`` gives seconds and never goes back."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.perf_counter) -> None:
        self._plan = plan
        self._clock = clock
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        request = request_bytes(plan.port, plan.path, plan.token, plan.body)
        for _ in range(plan.connections):
            self._register(Connection(plan.port, request, plan.tail))
        self._idle = deque(self._by_fd.values())
        self._backlog: deque[float] = deque()
        self._random = random.Random(plan.seed)  # noqa: S311 - a schedule, not a secret
        self._next_due = clock()
        self._measured_from = math.inf
        self._latencies: list[float] = []
        self._calls = self._errors = 0
        self._first_error: int | None = None

    def run(self) -> Outcome:
        """Warm up, measure, and in an open loop wait for what is still due."""
        pids = cpu.members(self._plan.session)
        step = self._closed if self._plan.rate is None else self._open
        warm_until = self._clock() + self._plan.warm
        while self._clock() < warm_until:
            step(warm_until)
        began = self._measured_from = self._clock()
        end = began + self._plan.seconds
        spent, own = cpu.seconds(pids), time.process_time()
        while self._clock() < end:
            step(end)
        took, calls = self._clock() - began, max(self._calls, 1)
        spent, own = cpu.seconds(pids) - spent, time.process_time() - own
        answered = self._calls
        if self._plan.rate is not None:
            self._drain()
        ordered = sorted(self._latencies)
        return Outcome(
            calls=answered,
            errors=self._errors,
            first_error=self._first_error,
            seconds=took,
            p50_ms=percentile(ordered, 0.5) * 1000,
            p99_ms=percentile(ordered, 0.99) * 1000,
            cpu_us=spent / calls * 1e6,
            load_us=own / calls * 1e6,
        )

    def _closed(self, until: float) -> None:
        while self._idle:
            self._idle.popleft().send(self._clock())
        self._answers(self._epoll.poll(max(0.0, until - self._clock())))

    def _open(self, until: float) -> None:
        now = self._clock()
        while self._next_due <= now:
            self._backlog.append(self._next_due)
            self._next_due += self._random.expovariate(self._plan.rate or 1.0)
        self._dispatch()
        # select(2) waits to the microsecond, epoll_wait(2) only to the millisecond.
        wait = max(0.0, min(until, self._next_due) - now)
        if select.select((self._epoll,), (), (), wait)[0]:
            self._answers(self._epoll.poll(0))

    def _drain(self) -> None:
        """Answer what was due before now; after a while, count the rest as it stands."""
        self._next_due = math.inf
        give_up = self._clock() + _DRAIN_SECONDS
        while self._backlog or len(self._idle) < self._plan.connections:
            self._dispatch()
            now = self._clock()
            if now >= give_up:
                busy = [each.due for each in self._by_fd.values() if each.status is None]
                self._latencies += [
                    now - due for due in (*self._backlog, *busy) if due >= self._measured_from
                ]
                return
            self._answers(self._epoll.poll(give_up - now))

    def _dispatch(self) -> None:
        while self._backlog and self._idle:
            self._idle.popleft().send(self._backlog.popleft())

    def _answers(self, ready: list[tuple[int, int]]) -> None:
        for fd, _ in ready:
            connection = self._by_fd[fd]
            was_busy = connection.status is None
            if not connection.receive():
                del self._by_fd[fd]
                connection.sock.close()
                connection.connect()
                self._register(connection)
            if was_busy and connection.status is not None:
                self._idle.append(connection)
                self._count(connection.due, connection.status)

    def _count(self, due: float, status: int) -> None:
        """Count an answer; what was due in the warm-up has no say in an open loop's latencies."""
        now = self._clock()
        if now < self._measured_from:
            return
        if status != OK:
            self._errors += 1
            self._first_error = status if self._first_error is None else self._first_error
            return
        self._calls += 1
        if self._plan.rate is None or due >= self._measured_from:
            self._latencies.append(now - due)

    def _register(self, connection: Connection) -> None:
        self._by_fd[connection.sock.fileno()] = connection
        self._epoll.register(connection.sock.fileno(), select.EPOLLIN)


def main() -> None:
    """Read the plan, run it, print the outcome."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    gc.disable()
    sys.stdout.buffer.write(msgspec.json.encode(Drive(plan).run()))


if __name__ == "__main__":
    main()
