"""The command line with a stop-watch at the check that inspects.

A process of its own, made by COMMAND and ``FILE ARGUMENT...``: it does what ``portcullis
ARGUMENT...`` does, and at its end writes ``Inspected`` to FILE, JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from portcullis.checks.inspect import Inspect
from portcullis.core.call import Call

COMMAND: Final = (
    sys.executable,
    "-c",
    "import portcullis.bench.firewall_timed as t, portcullis.cli as c; t.watched(c.main)",
)
_STEPS: Final = ("judge", "judge_result")
_AWAITED: Final = ("prepare", "prepare_result")


class Spent(NamedTuple):
    """When a call began (CLOCK_MONOTONIC), and its seconds in all steps: of a clock, of processor.

    A clock's seconds count waiting, for the interpreter's lock or a processor.
    """

    began: float
    clock: float = 0.0
    processor: float = 0.0


class Inspected(msgspec.Struct):
    """The calls by id."""

    calls: dict[str, Spent] = msgspec.field(default_factory=dict)

    def add(self, call: Call, began: float, processor: float) -> None:
        """A step of this call, that began so, has ended."""
        first, clock, worked = self.calls.get(call.id, Spent(began))
        clock += time.monotonic() - began
        self.calls[call.id] = Spent(first, clock, worked + time.thread_time() - processor)


def watch(seen: Inspected) -> None:
    """Let every step of the check be timed, in this process, from now on."""
    for name in _STEPS:
        setattr(Inspect, name, _timed(getattr(Inspect, name), seen))
    for name in _AWAITED:
        setattr(Inspect, name, _awaited(getattr(Inspect, name), seen))


def _timed(step: Callable[..., Any], seen: Inspected) -> Callable[..., Any]:
    def timed(check: Inspect, call: Call, *rest: Any) -> Any:
        began, processor = time.monotonic(), time.thread_time()
        try:
            return step(check, call, *rest)
        finally:
            seen.add(call, began, processor)

    return timed


def _awaited(step: Callable[..., Awaitable[Any]], seen: Inspected) -> Callable[..., Awaitable[Any]]:
    async def timed(check: Inspect, call: Call, *rest: Any) -> Any:
        began, processor = time.monotonic(), time.thread_time()
        try:
            return await step(check, call, *rest)
        finally:
            seen.add(call, began, processor)

    return timed


def watched(main: Callable[[], None]) -> None:
    """Run the command line, and write down what was inspected."""
    file = Path(sys.argv.pop(1))
    inspected = Inspected()
    watch(inspected)
    try:
        main()
    finally:
        file.write_bytes(msgspec.json.encode(inspected))
