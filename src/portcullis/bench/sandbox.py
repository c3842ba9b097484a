"""``bench sandbox``: what a box costs to start, and what a bad one costs its neighbour.

A start is from the order to the end of a program that does nothing, beside the same program
without a box. A warm start is from the claim of a box that waited to the output of a Python tool;
the next claim is made when the pool is full again, as between two calls of an agent.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from portcullis.bench.load import percentile
from portcullis.bench.report import Report, machine, report, target
from portcullis.bench.sandbox_egress import measure_egress
from portcullis.bench.sandbox_neighbour import BAD, measure_neighbour
from portcullis.bootstrap.sandboxes import adapter, adapters
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Hold, Order, Profile, Streams
from portcullis.core.sandbox_ports import Sandbox
from portcullis.execution.sandbox.pool import Pool, Recipe, Task

Part = Literal["starts", "neighbour", "egress"]
PARTS: Final[tuple[Part, ...]] = ("starts", "neighbour", "egress")
WARM_MS: Final = 5.0
MOVED: Final = 1.1
"""What a neighbour's p99 beside a bad box may be of its p99 without."""
EGRESS: Final = 1.3
_PROGRAMS: Final = {
    "true": ("/bin/true",),
    "python": ("/usr/bin/python3", "-I", "-S", "-c", "pass"),
}
_TOOL: Final = "print('done')"
_POOL: Final = 2
_FULL_SECONDS: Final = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How often each start is measured; how long, and how often, a neighbour is listened to."""

    starts: int = 30
    seconds: float = 2.0
    rounds: int = 6
    calls: int = 100
    parts: tuple[Part, ...] = PARTS


def measure_sandbox(settings: Settings, say: Say) -> Report:
    """Measure all parts. Problem PC5030 where no adapter of this machine holds strict boxes."""
    at = machine()
    figures = asyncio.run(_measure(settings, say))
    most = {
        "bubblewrap_warm_p50_ms": WARM_MS,
        "egress_p50_ratio": EGRESS,
        "egress_near_p50_ratio": EGRESS,
        **{f"{name}_neighbour_p99_ratio": MOVED for name in BAD},
    }
    targets = {
        name: target(figures, name, "<=", value) for name, value in most.items() if name in figures
    }
    return report("bench sandbox", at, figures, targets)


async def _measure(settings: Settings, say: Say) -> dict[str, float]:
    here = holding()
    if not here:
        raise Problem("PC5030", "nothing on this machine holds all that strict demands")
    figures: dict[str, float] = {}
    if "starts" in settings.parts:
        for name, argv in _PROGRAMS.items():
            say(f"starting {name} without a box")
            figures |= await _repeated(f"bare_{name}", settings.starts, partial(_bare, argv))
            for sandbox in here:
                say(f"starting {name} in {sandbox.name}")
                step = partial(_cold, sandbox, argv)
                figures |= await _repeated(f"{sandbox.name}_{name}", settings.starts, step)
                added = figures[f"{sandbox.name}_{name}_p50_ms"] - figures[f"bare_{name}_p50_ms"]
                figures[f"{sandbox.name}_{name}_added_ms"] = added
        for sandbox in here:
            say(f"warm starts in {sandbox.name}")
            figures |= _spread(f"{sandbox.name}_warm", await _warm(sandbox, settings.starts))
    if "neighbour" in settings.parts:
        figures |= await measure_neighbour(here[0], settings.seconds, settings.rounds, say)
    if "egress" in settings.parts:
        say("egress beside a direct connection")
        figures |= await asyncio.to_thread(measure_egress, settings.calls)
    return figures


def holding() -> list[Sandbox]:
    """The adapters whose strict boxes run programs of this machine."""
    return [
        sandbox
        for sandbox in map(adapter, adapters())
        if Profile().demands <= sandbox.probe().enforces
        and Hold.INSTRUCTIONS not in sandbox.probe().enforces
    ]


async def _repeated(
    name: str, count: int, step: Callable[[], Awaitable[float]]
) -> dict[str, float]:
    """So many times; the first is for warming up. ``cpu`` is ours and our ended children's."""
    await step()
    before = _cpu()
    taken = sorted([await step() for _ in range(count)])
    return _spread(name, taken) | {f"{name}_cpu_ms": (_cpu() - before) * 1000 / count}


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


async def _bare(argv: Sequence[str]) -> float:
    def run() -> float:
        began = time.perf_counter()
        child = os.posix_spawn(argv[0], list(argv), {})
        os.waitpid(child, 0)
        return time.perf_counter() - began

    return await asyncio.to_thread(run)


async def _cold(sandbox: Sandbox, argv: Sequence[str]) -> float:
    order = Order(title="bench", argv=tuple(argv), profile=Profile())
    null = os.open(os.devnull, os.O_RDWR)
    try:
        began = time.perf_counter()
        box = await sandbox.start(order, Streams(stdin=null, stdout=null, stderr=null))
        ended = await box.wait()
        taken = time.perf_counter() - began
        await box.close()
    finally:
        os.close(null)
    if ended.status:
        raise Problem("PC7007", f"{argv[0]} in {sandbox.name} ended with {ended.status}")
    return taken


async def _warm(sandbox: Sandbox, count: int) -> list[float]:
    """From claim to output, in seconds, sorted."""
    pool = Pool(sandbox, Recipe(title="bench", profile=Profile()), _POOL)
    taken = []
    try:
        await pool.open()
        for number in range(count + 1):
            began = time.perf_counter()
            outcome = await pool.run(Task(title="bench", code=_TOOL))
            if number:
                taken.append(time.perf_counter() - began)
            if outcome.stdout.strip() != b"done":
                raise Problem("PC7007", f"a tool in a warm box of {sandbox.name} said nothing")
            async with asyncio.timeout(_FULL_SECONDS):
                while pool.ready < _POOL:  # noqa: ASYNC110 - a pool tells nobody
                    await asyncio.sleep(0.005)
    finally:
        await pool.close()
    return sorted(taken)


def _spread(name: str, taken: Sequence[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": percentile(taken, 0.5) * 1000,
        f"{name}_p95_ms": percentile(taken, 0.95) * 1000,
    }
