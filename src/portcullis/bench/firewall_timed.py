"""The command line with a stop-watch at the check that inspects.

A process of its own, made by COMMAND and ``FILE ARGUMENT...``: it does what ``portcullis
ARGUMENT...`` does, and at its end writes ``Inspected`` to FILE, JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

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


class Inspected(msgspec.Struct):
    """The calls by id: when each began (CLOCK_MONOTONIC), and its seconds in all steps.

    They are seconds of a clock, so that waiting for the interpreter's lock counts.
    """

    calls: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)

    def add(self, call: Call, began: float) -> None:
        """A step of this call has ended."""
        took = time.monotonic() - began
        first, before = self.calls.get(call.id, (began, 0.0))
        self.calls[call.id] = (first, before + took)


def watch(seen: Inspected) -> None:
    """Let every step of the check be timed, in this process, from now on."""
    for name in _STEPS:
        setattr(Inspect, name, _timed(getattr(Inspect, name), seen))
    for name in _AWAITED:
        setattr(Inspect, name, _awaited(getattr(Inspect, name), seen))


def _timed(step: Callable[..., Any], seen: Inspected) -> Callable[..., Any]:
    def timed(check: Inspect, call: Call, *rest: Any) -> Any:
        began = time.monotonic()
        try:
            return step(check, call, *rest)
        finally:
            seen.add(call, began)

    return timed


def _awaited(step: Callable[..., Awaitable[Any]], seen: Inspected) -> Callable[..., Awaitable[Any]]:
    async def timed(check: Inspect, call: Call, *rest: Any) -> Any:
        began = time.monotonic()
        try:
            return await step(check, call, *rest)
        finally:
            seen.add(call, began)

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
