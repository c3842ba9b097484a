"""Clients of one budget, as a gateway's calls are: the check over its counter, and no provider.

As a program it reads a ``Task`` from standard input and writes what ``Came`` to standard output.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Final, Literal

import msgspec
import uvloop

from portcullis.checks.limit import Limiting
from portcullis.core.call import Action, Call, Context, Result, RiskClass, Route, Usage
from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Counter, Price
from portcullis.core.limit_told import Measure
from portcullis.core.limits import Ceiling, Dimension, Limit, Requests, Window
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.store.counters_local import LocalCounter
from portcullis.store.counters_redis import RedisCounter
from portcullis.store.counters_sqlite import SharedCounter

AGENTS: Final = 8
"""The clients are of so many agents, who share the budget."""
MOST: Final = 200
"""Tokens that each call asks for at most, at a hundredth of a cent."""
DOLLAR: Final = 100
"""What a token costs, in millionths of a dollar."""
_BODY: Final = b"{}" * 100
EXTRA: Final = 500 * DOLLAR
"""What one call takes more than was reserved for it, in millionths of a dollar: the last to end."""
_CALL: Final = Call(
    id="",
    route=Route.LLM_JSON,
    action=Action.MODEL,
    server="model",
    name="bench",
    method="POST /v1/chat/completions",
    arguments={},
    payload={"max_tokens": MOST},
    body=_BODY,
)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """``place`` is a file, or a URL under which ``group`` sets the counts apart from others.

    One call that begins first and ends last takes ``EXTRA`` more, if ``extra``.
    """

    via: Literal["memory", "sqlite", "redis"]
    place: str
    name: str
    group: str = ""
    budget: int = 0
    clients: int = 0
    extra: bool = False


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What was really taken (millionths of a dollar), by how many calls, and of which agents."""

    spent: int
    calls: int
    agents: list[int]


class SystemTime:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class _Book:
    digest = "bench"

    def __init__(self, *limits: Limit) -> None:
        self.limits = limits

    def role_of(self, agent: str) -> str:
        del agent
        return "bench"


class _Prices:
    ready = True
    _price: Final = Price(steps=((0, 0, DOLLAR * 1000, 0, 0),))

    def price(self, api: str, model: str) -> Price:
        del api, model
        return self._price


def budget_of(calls: int) -> int:
    """A budget into which about so many calls fit, at half of what each asks for."""
    return calls * MOST // 2 * DOLLAR


def opened(task: Task) -> Counter:
    """The counter of a task."""
    if task.via == "redis":
        return RedisCounter(task.place, task.group, SystemTime(), seconds=5.0)
    path = Path(task.place)
    clock = SystemTime()
    return LocalCounter(path, clock) if task.via == "memory" else SharedCounter(path, clock)


async def counted(counter: Counter) -> int:
    """What the budget's count says was used."""
    return sum(used.value for used in await counter.page("budget|", 100) if used.kind == "amount")


async def clients(task: Task) -> Came:
    """Let all clients ask until each was refused for good."""
    shared = Ceiling(measure=Measure.COST, window=Window.MONTH, amount=task.budget)
    budget = Limit(name="budget", place="bench", per=(Dimension.ALL,), ceilings=(shared,))
    check = Limiting(_Book(budget), opened(task), SystemTime(), prices=_Prices())
    spent, calls, agents = 0, 0, [0] * AGENTS
    context, last = _context("agent-0"), msgspec.structs.replace(_CALL, id=f"{task.name}-last")
    if task.extra:
        await check.going(last, context, RiskClass.EXTERNAL)

    def ended(call: Call, context: Context, agent: int, took: int) -> None:
        nonlocal spent
        usage = Usage(input_tokens=0, output_tokens=took)
        result = Result(payload=None, size=0, usage=usage, finish="stop")
        check.finished(call, context, result, None)
        spent += took * DOLLAR
        agents[agent] += took

    async def client(number: int) -> None:
        nonlocal calls
        chance = random.Random(f"{task.name}-{number}")  # noqa: S311 - sizes, no secrets
        agent, refused = number % AGENTS, 0
        context = _context(f"agent-{agent}")
        while refused < 2:  # noqa: PLR2004 - the second time, nothing was on its way
            call = msgspec.structs.replace(_CALL, id=f"{task.name}-{number}-{calls}-{refused}")
            calls += 1
            try:
                await check.going(call, context, RiskClass.EXTERNAL)
            except Problem as problem:
                if problem.code != "PC3071":
                    raise
                refused += 1
                await asyncio.sleep(0.1)
                continue
            await asyncio.sleep(chance.uniform(0, 0.01))
            ended(call, context, agent, chance.randrange(MOST))
            refused = 0

    await asyncio.gather(*(client(number) for number in range(task.clients)))
    if task.extra:
        ended(last, context, 0, MOST + EXTRA // DOLLAR)
    await check.close()
    return Came(spent=spent, calls=calls, agents=agents)


async def overhead(path: Path, calls: int) -> float:
    """CPU microseconds that a rate and a budget add to a call: judging, asking, and settling."""
    month = Ceiling(measure=Measure.COST, window=Window.MONTH, amount=2**50)
    rate = Requests(count=1_000_000, seconds=1, burst=1_000_000)
    limit = Limit(name="budget", place="bench", requests=rate, ceilings=(month,))
    clock = SystemTime()
    check = Limiting(_Book(limit), LocalCounter(path, clock), clock, prices=_Prices())
    context = _context("agent-0")
    usage = Usage(input_tokens=0, output_tokens=9)
    result = Result(payload=None, size=0, usage=usage, finish="stop")
    asked = [msgspec.structs.replace(_CALL, id=str(number)) for number in range(calls)]
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for call in asked:
            check.judge(call, context, None)
            await check.going(call, context, RiskClass.EXTERNAL)
            check.finished(call, context, result, None)
            await asyncio.sleep(0)
        best = min(best, time.process_time() - began)
    began = time.process_time()
    for _ in asked:
        await asyncio.sleep(0)
    idle = time.process_time() - began
    await check.close()
    return (best - idle) / calls * 1e6


def _context(agent: str) -> Context:
    principal = Principal(kind=PrincipalKind.AGENT, id=agent, credential="", expires_at=2e9)
    return Context(principal=principal, session=None, source="", trace_id="", received_at=0.0)


def main() -> None:
    """Do one task."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    came = uvloop.run(clients(task))
    sys.stdout.buffer.write(msgspec.json.encode(came))


if __name__ == "__main__":
    main()
