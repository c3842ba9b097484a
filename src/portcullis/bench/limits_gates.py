"""What limits hold at several gateways: clients over HTTP, real processes, one budget.

Each client asks one gateway, and goes on at the next when that is gone, as behind a load balancer.
The provider keeps books of its own: what it took is held against the budget, and against what the
gateways have counted. One call begins first, ends last and takes more than was reserved.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from portcullis.bench.limits import Settings, jain
from portcullis.bench.limits_clients import AGENTS, DOLLAR, EXTRA, MOST, budget_of
from portcullis.bench.limits_stage import Stage, Via, counting_server, staged
from portcullis.bench.limits_stub import Books
from portcullis.bench.report import Report, machine, report, target
from portcullis.bench.stub import MODEL
from portcullis.core.errors import Problem
from portcullis.store.counters import LEASE

_PATH: Final = "/openai/v1/chat/completions"
_OK: Final = 200
_PATIENCE: Final = 30.0
_MARGIN: Final = 1.0
_USED_UP: Final = "PC3071"


@dataclass(slots=True)
class _Run:
    """What the clients saw: how often each agent was served, and what broke off in mid-call."""

    left: int
    """How many calls may begin before one gateway is killed; negative: none is."""
    calls: int = 0
    broken: int = 0
    dead: int = -1
    took: list[int] = field(default_factory=lambda: [0] * AGENTS)
    waited: list[float] = field(default_factory=list)


def measure_gates(
    settings: Settings, via: Via, *, kill: bool, say: Callable[[str], object] = lambda _: None
) -> Report:
    """Measure; ``kill`` ends the last gateway without warning in the middle.

    Raises Problem PC7007 when a process does not do its part, PC7005 without a server for
    ``redis``.
    """
    at, budget = machine(), budget_of(settings.calls)
    with tempfile.TemporaryDirectory(prefix="portcullis-limits-") as name:
        folder = Path(name)
        wanted = settings.redis if via == "redis" else "none"
        with counting_server(folder, wanted) as counts:
            if via == "redis" and not counts:
                raise Problem("PC7005", "there is no valkey-server and no redis-server here")
            say(f"starting {settings.gateways} gateways")
            with staged(
                folder,
                gateways=settings.gateways,
                agents=[f"client-{number}" for number in range(AGENTS)],
                budget=budget,
                places=2 * settings.clients + 1,  # those of who is killed are held on
                counts=counts,
            ) as stage:
                say(f"{settings.clients} clients, one budget")
                run = _Run(left=settings.calls // 3 if kill else -1)
                figures = asyncio.run(_measured(stage, settings, run, budget))
    figures = {f"{via}_{name}": figure for name, figure in figures.items()}
    promised: dict[str, tuple[Any, float]] = {
        "overspent_micros": ("<=", figures[f"{via}_difference_micros"]),
        "lost_micros": ("<=", 0.0),
        "doubled_micros": ("<=", 0.0),
        "places_held": ("<=", 0.0),
        "used_percent": (">=", 95.0),
        "fairness_percent": (">=", 90.0),
    }
    targets = {
        f"{via}_{name}": target(figures, f"{via}_{name}", op, value)
        for name, (op, value) in promised.items()
    }
    return report("bench limits", at, figures, targets)


async def _measured(stage: Stage, settings: Settings, run: _Run, budget: int) -> dict[str, float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        last = asyncio.ensure_future(_call(http, stage, 0, 0, MOST + EXTRA // DOLLAR, -1))
        while (await _books(http, stage)).calls < 1:
            if last.done():
                last.result()
            await asyncio.sleep(0.01)
        began = time.perf_counter()
        clients = (_client(number, http, stage, run) for number in range(settings.clients))
        await asyncio.gather(*clients)
        seconds = time.perf_counter() - began
        async with http.get(f"{stage.upstream}/release"):
            await last
        spent = (await _books(http, stage)).tokens * DOLLAR
    held = await stage.counted()
    counted = await _settled(stage)
    later = await stage.counted(LEASE + _MARGIN)
    ordered = sorted(run.waited)
    in_doubt = run.broken * MOST * DOLLAR
    return {
        "gateways": float(settings.gateways),
        "clients": float(settings.clients),
        "budget_usd": budget / 1e6,
        "spent_usd": spent / 1e6,
        "counted_usd": counted / 1e6,
        "overspent_micros": float(max(spent - budget, 0)),
        "difference_micros": float(EXTRA),
        "lost_micros": float(max(spent - counted, 0)),
        "doubled_micros": float(max(counted - spent - in_doubt, 0)),
        "broken_calls": float(run.broken),
        "places_after": float(held.get("slots", 0)),
        "places_held": float(later.get("slots", 0)),
        "used_percent": 100 * counted / budget,
        "fairness_percent": 100 * jain(run.took),
        "calls_per_second": run.calls / seconds,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[len(ordered) * 99 // 100],
    }


async def _client(number: int, http: aiohttp.ClientSession, stage: Stage, run: _Run) -> None:
    """Ask until it was refused for good."""
    chance = random.Random(number)  # noqa: S311 - sizes, no secrets
    agent, at, refused = number % AGENTS, number // AGENTS % len(stage.urls), 0
    while refused < 2:  # noqa: PLR2004 - the second time, nothing was on its way
        tokens, seconds = chance.randrange(MOST), chance.uniform(0, 0.01)
        run.left -= 1
        if run.left == 0 and run.dead < 0:
            run.dead = len(stage.urls) - 1
            stage.kill(run.dead)
        began = time.perf_counter()
        try:
            code = await _call(http, stage, at, agent, tokens, seconds)
        except aiohttp.ClientError as error:
            if at != run.dead:
                raise Problem("PC7007", "a gateway broke off that nobody has killed") from None
            run.broken += not isinstance(error, aiohttp.ClientConnectorError)
            at = (at + 1) % len(stage.urls)
            continue
        if code:
            refused += 1
            await asyncio.sleep(0.1)
            continue
        refused = 0
        run.calls += 1
        run.took[agent] += tokens
        run.waited.append(time.perf_counter() - began)


async def _call(
    http: aiohttp.ClientSession, stage: Stage, at: int, agent: int, tokens: int, seconds: float
) -> str:
    """One call: empty, or the code for a budget that is used up. Problem PC7007 for any other."""
    asked = {
        "model": MODEL,
        "max_tokens": MOST,
        "messages": [{"role": "user", "content": f"{tokens} {seconds:.4f}"}],
    }
    headers = {"authorization": f"Bearer {stage.tokens[agent]}"}
    async with http.post(stage.urls[at] + _PATH, json=asked, headers=headers) as answer:
        content = await answer.read()
    if answer.status == _OK:
        return ""
    with suppress(msgspec.MsgspecError, KeyError, TypeError):
        if msgspec.json.decode(content)["error"]["code"] == _USED_UP:
            return _USED_UP
    raise Problem("PC7007", f"HTTP {answer.status}: {content[:200]!r}")


async def _books(http: aiohttp.ClientSession, stage: Stage) -> Books:
    async with http.get(f"{stage.upstream}/") as answer:
        return msgspec.json.decode(await answer.read(), type=Books)


async def _settled(stage: Stage) -> int:
    """What is counted, once it has not changed for a while: gateways settle after they answer."""
    until, before, same = time.monotonic() + _PATIENCE, -1, 0
    while time.monotonic() < until and same < 3:  # noqa: PLR2004 - times
        now = (await stage.counted()).get("amount", 0)
        same = same + 1 if now == before else 0
        before = now
        await asyncio.sleep(0.2)
    return before
