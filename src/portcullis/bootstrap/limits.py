"""Limits, put together: what counts, what prices, the check, and what operators see of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from portcullis.bootstrap.background import background
from portcullis.bootstrap.sharing import secret
from portcullis.checks.limit import Limiting
from portcullis.checks.limits_run import Book, Sizes
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.limits import LimitParts
from portcullis.control.services import Services
from portcullis.core.behaviour import RiskLevels
from portcullis.core.errors import Problem
from portcullis.core.incident_ports import Probations
from portcullis.core.limit_ports import Counter, Spent
from portcullis.core.ports import Clock, SecretSource
from portcullis.gateway.limit_metrics import LimitMetrics
from portcullis.oversight.breaking import Breakers
from portcullis.store.counters_local import LocalCounter
from portcullis.store.counters_redis import RedisCounter
from portcullis.store.counters_sqlite import SharedCounter
from portcullis.store.prices import ModelPrices

COUNTS: Final = "limits.db"
"""Below the state directory: what is counted, unless a server has it."""
KEPT: Final = "Set `appendonly yes` and `maxmemory-policy noeviction` in it."
"""What to do about a server that may give budgets back."""
_SLACK: Final = 60.0

_LOOK_SECONDS: Final = 60.0
"""How often the server of the counts is looked at."""

log = structlog.get_logger(__name__)


def counter_of(config: Config, role: Role, sources: SecretSource, clock: Clock) -> Counter:
    """What counts. Raises Problem PC7001, or PC6003 where another process counts in memory."""
    settings = config.counters
    if settings.via == "redis" and settings.url is not None:
        return RedisCounter(sources.resolve(settings.url).reveal(), config.trust_domain, clock)
    path = config.state / COUNTS
    if settings.via == "sqlite":
        return SharedCounter(path, clock)
    if not role.alone:
        hint = "Set `counters: {via: sqlite}`: then all processes of this machine count together."
        raise Problem("PC7001", "counters: memory is for a gate that is one process", hint=hint)
    return LocalCounter(path, clock)


@contextlib.asynccontextmanager
async def limiting(
    config: Config,
    services: Services,
    book: Book,
    sources: SecretSource,
    registry: CollectorRegistry,
    *,
    breakers: Breakers,
    levels: RiskLevels | None = None,
    probations: Probations | None = None,
) -> AsyncIterator[tuple[Limiting, LimitParts]]:
    """The check (which observes too), and what operators look at, for as long as the block."""
    clock = services.clock
    role = Role.of(services.gateway.rpartition("/")[2])
    prices = ModelPrices(config.prices, clock)
    counter = counter_of(config, role, sources, clock)
    metrics = LimitMetrics(registry, counter, book, clock)
    mask = masked(secret(config, services.sealer, "limits"))
    shapes = {name: one.shape for name, one in config.models.items()}
    check = Limiting(
        book,
        counter,
        clock,
        prices=prices,
        levels=levels,
        probations=probations,
        spent=Breaking(breakers),
        sizes=sizes_of(config),
        mask=mask,
        api_of=lambda server: shapes.get(server, ""),
        refused=metrics.refused,
    )
    parts = LimitParts(counter=counter, book=book, clock=clock, mask=mask)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(check.close)
        if any(one.costs for one in book.limits):
            await asyncio.to_thread(prices.warm)
        elif config.models and role.enforces:  # agents' breakers go by what is spent
            loading = asyncio.get_running_loop().run_in_executor(None, prices.warm)
            stack.push_async_callback(asyncio.wait, [loading])
        if isinstance(counter, RedisCounter):
            await stack.enter_async_context(background(_looked_at(counter)))
        await stack.enter_async_context(background(check.run()))
        await stack.enter_async_context(background(metrics.run()))
        yield check, parts


async def _looked_at(counter: RedisCounter) -> None:
    """Say so, for ever, when the server of the counts may give budgets back from now on."""
    said = ""
    while True:
        try:
            lacking = await counter.lacking()
        except Problem:  # which every call that is counted says
            lacking = said
        if lacking and lacking != said:
            log.warning("counts_not_kept", why=lacking, hint=KEPT)
        said = lacking
        await asyncio.sleep(_LOOK_SECONDS)


def sizes_of(config: Config) -> Sizes:
    """How calls are estimated, and how long what is reserved for one can be settled."""
    limits, settings = config.limits, config.counters
    slowest = max((one.result_seconds or 0.0 for one in config.guard.values()), default=0.0)
    return Sizes(
        output_tokens=settings.output_tokens,
        bytes_per_token=settings.bytes_per_token,
        cap_output=settings.cap_output,
        hold_seconds=max(limits.request_seconds + limits.stream_seconds, slowest) + _SLACK,
    )


def masked(key: bytes) -> Callable[[str], str]:
    """What stands for a user's name in counts: only whoever holds the key can guess it."""

    def mask(user: str) -> str:
        return "~" + hmac.new(key, user.encode(), hashlib.sha256).hexdigest()[:32]

    return mask


class Breaking(Spent):
    """Tells an agent's breaker what it spends, and opens it where that is too fast."""

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers

    def on_spent(self, agent: str, micros: int, at: float) -> None:
        """See Spent."""
        self._breakers.spent(agent, micros, at)

    def on_burn(self, limit: str, agent: str) -> None:
        """See Spent."""
        self._breakers.trip(agent, f"limit {limit}: it spends its month's budget too fast")
