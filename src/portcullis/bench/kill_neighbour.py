"""A neighbour's calls, at an even pace, while others are killed.

Run as ``python -m portcullis.bench.kill_neighbour``: for a Plan (a line of JSON on standard input)
it prints ``ready`` and then makes calls until a second line comes; then it prints an Outcome.
Times are of CLOCK_MONOTONIC, in seconds.
"""

from __future__ import annotations

import gc
import sys
import threading
import time

import httptools
import msgspec

from portcullis.bench.identity_load import READY, Connection, tls_of
from portcullis.client.svid import Svid


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, over how many connections, and how often in a second all together."""

    port: int
    agent: Svid
    connections: int
    rate: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Each call: when it was due, and what it took from then on. ``failed`` were not served."""

    due: tuple[float, ...]
    took: tuple[float, ...]
    failed: int


class _Caller(threading.Thread):
    """Makes its calls one after the other, each when it is due."""

    def __init__(self, plan: Plan, number: int, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._connection = Connection(plan.port, tls_of(plan.agent))
        self._every = plan.connections / plan.rate
        self._due = time.monotonic() + number / plan.rate
        self._over = over
        self.calls: list[tuple[float, float]] = []
        self.failed = 0

    def run(self) -> None:
        while not self._over.is_set():
            time.sleep(max(0.0, self._due - time.monotonic()))
            try:
                self._connection.again()
            except (OSError, httptools.HttpParserError):
                self.failed += 1
                return
            self.calls.append((self._due, time.monotonic() - self._due))
            self._due = max(self._due + self._every, time.monotonic() - 1)


def main() -> None:
    """Serve one plan."""
    gc.disable()
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    over = threading.Event()
    callers = [_Caller(plan, number, over) for number in range(plan.connections)]
    for caller in callers:
        caller.start()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    sys.stdin.buffer.readline()
    over.set()
    for caller in callers:
        caller.join(30)
    calls = [call for caller in callers for call in caller.calls]
    outcome = Outcome(
        due=tuple(due for due, _ in calls),
        took=tuple(took for _, took in calls),
        failed=sum(caller.failed for caller in callers),
    )
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
