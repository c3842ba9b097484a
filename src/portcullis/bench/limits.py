"""What limits hold, and what they cost: many clients against one budget, here and in processes.

The clients are calls of the check that every gateway has, over the counter that it would count
with; in place of a provider, each call waits a moment and has then taken some of its reservation.
One call takes more than was reserved: by as much as it took more, and by nothing else, the budget
may be overspent.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import uvloop

from portcullis.bench.limits_clients import (
    AGENTS,
    EXTRA,
    Came,
    Task,
    budget_of,
    clients,
    counted,
    opened,
    overhead,
)
from portcullis.bench.limits_stage import counting_server
from portcullis.bench.report import Report, Target, machine, report, target
from portcullis.core.errors import Problem

_OVERHEAD: Final = 20.0
_PROMISES: Final[tuple[tuple[str, Literal["<=", ">="], float], ...]] = (
    ("miscounted_micros", "<=", 0.0),
    ("used_percent", ">=", 95.0),  # when nothing more fits into the budget
    ("fairness_percent", ">=", 90.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``clients`` in all, for a budget of ``calls`` calls; ``gateways`` of them over Redis."""

    clients: int = 64
    calls: int = 2000
    gateways: int = 4
    overhead_calls: int = 20_000
    redis: str = "auto"
    """The server's URL; ``auto`` starts one, ``none`` leaves it out."""


def measure_limits(settings: Settings, say: Callable[[str], object] = lambda _: None) -> Report:
    """Measure. Raises Problem PC7007 when a server or a process does not do its part."""
    at, figures, targets = machine(), dict[str, float](), dict[str, Target]()
    with tempfile.TemporaryDirectory(prefix="portcullis-limits-") as name:
        folder = Path(name)
        for via in ("memory", "sqlite"):
            say(f"{settings.clients} clients, one budget, {via}")
            task = Task(via=via, place=str(folder / f"{via}.db"), name="bench")
            figures |= _held(via, [task], settings)
        say("overhead")
        figures["memory_overhead_us"] = uvloop.run(
            overhead(folder / "overhead.db", settings.overhead_calls)
        )
        targets["memory_overhead_us"] = target(figures, "memory_overhead_us", "<=", _OVERHEAD)
        vias = ["memory", "sqlite"]
        with counting_server(folder, settings.redis) as url:
            if url:
                say(f"{settings.clients} clients in {settings.gateways} processes, Redis")
                each = [
                    Task(via="redis", place=url, name=f"bench-{number}", group=folder.name)
                    for number in range(settings.gateways)
                ]
                figures |= _held("redis", each, settings)
                vias.append("redis")
    for via in vias:
        name = f"{via}_overspent_micros"
        most = figures[f"{via}_difference_micros"]
        targets[name] = target(figures, name, "<=", most)
        for what, op, value in _PROMISES:
            targets[f"{via}_{what}"] = target(figures, f"{via}_{what}", op, value)
    return report("bench limits", at, figures, targets)


def _held(via: str, each: list[Task], settings: Settings) -> dict[str, float]:
    """Let all clients go until nothing more fits; what came of it."""
    budget = budget_of(settings.calls)
    began = time.perf_counter()
    first, *others = [
        msgspec.structs.replace(
            task, budget=budget, clients=settings.clients // len(each), extra=number == 0
        )
        for number, task in enumerate(each)
    ]
    if others or via == "redis":
        came = _processes([first, *others])
    else:
        came = [uvloop.run(clients(first))]
    seconds = time.perf_counter() - began
    spent = sum(one.spent for one in came)
    used = uvloop.run(_read(first))
    by_agent = [sum(one.agents[number] for one in came) for number in range(AGENTS)]
    return {
        f"{via}_clients": float(sum(task.clients for task in (first, *others))),
        f"{via}_budget_usd": budget / 1e6,
        f"{via}_spent_usd": spent / 1e6,
        f"{via}_overspent_micros": float(max(spent - budget, 0)),
        f"{via}_difference_micros": float(EXTRA),
        f"{via}_miscounted_micros": float(abs(used - spent)),
        f"{via}_used_percent": 100 * spent / budget,
        f"{via}_fairness_percent": 100 * jain(by_agent),
        f"{via}_calls_per_second": sum(one.calls for one in came) / seconds,
    }


def jain(shares: list[int]) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/n when one has all."""
    squares = sum(one * one for one in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


async def _read(task: Task) -> int:
    counter = opened(task)
    try:
        return await counted(counter)
    finally:
        await counter.close()


def _processes(tasks: list[Task]) -> list[Came]:
    """Run each in a process of its own, all at once."""
    argv = [sys.executable, "-m", "portcullis.bench.limits_clients"]
    children = [
        subprocess.Popen(  # noqa: S603 - our own module
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in tasks
    ]
    try:
        for child, task in zip(children, tasks, strict=True):
            if child.stdin is not None:
                child.stdin.write(msgspec.json.encode(task))
                child.stdin.close()
        said = [child.stdout.read() if child.stdout else b"" for child in children]
        if any(child.wait(timeout=60) for child in children):
            raise Problem("PC7007", "a process of clients failed")
        return [msgspec.json.decode(one, type=Came) for one in said]
    finally:
        for child in children:
            child.kill()
            child.wait()
