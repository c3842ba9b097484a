"""Figures of limits. Labels are the names of policy's limits and of measures: few, and ours."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Counter as Counts
from portcullis.core.limit_told import Measure
from portcullis.core.limits import Limit
from portcullis.core.ports import Clock

_EVERY: Final = 15.0
_PAGE: Final = 500
_PAGES: Final = 20
_MOST_LIMITS: Final = 200

log = structlog.get_logger(__name__)


class _Book(Protocol):
    @property
    def limits(self) -> tuple[Limit, ...]:
        """Those of the policy in force."""
        ...


class LimitMetrics:
    """Refusals, as they happen; and every ``_EVERY`` seconds how full the fullest counts are.

    Of ``_MOST_LIMITS`` limits each has its own name in the figures; the rest are ``other``.
    """

    def __init__(
        self, registry: CollectorRegistry, counter: Counts, book: _Book, clock: Clock
    ) -> None:
        self._counter = counter
        self._book = book
        self._clock = clock
        self._refused = Counter(
            "portcullis_limit_refusals",
            "Calls and results that a limit refused.",
            ["limit", "measure"],
            registry=registry,
        )
        self._used = Gauge(
            "portcullis_limit_used_ratio",
            "How much of a limit is used where most of it is, from 0 to 1.",
            ["limit", "measure", "window"],
            registry=registry,
        )

    def refused(self, limit: str, measure: Measure) -> None:
        """Count a refusal."""
        self._refused.labels(self._named(limit), measure).inc()

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - nothing ends it but the gate's end
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                log.warning("limits_not_measured", fault=fault)

    async def look(self) -> None:
        """Read what is counted, once: at most ``_PAGE * _PAGES`` counts."""
        ceilings = {
            (limit.name, one.measure, one.window): one.amount
            for limit in self._book.limits
            for one in limit.ceilings
        }
        fullest = dict.fromkeys(ceilings, 0.0)
        after = ""
        for _ in range(_PAGES if ceilings else 0):
            page = await self._counter.page(after, _PAGE)
            for used in page:
                name, _, rest = used.key.partition("|")
                measure, _, window = rest.partition("|")[0].partition(".")
                ceiling = ceilings.get((name, measure, window))  # type: ignore[arg-type]
                if ceiling:
                    key = (name, measure, window)
                    fullest[key] = max(fullest[key], used.value / ceiling)  # type: ignore[index]
            if len(page) < _PAGE:
                break
            after = page[-1].key
        self._used.clear()
        for (name, measure, window), ratio in fullest.items():
            self._used.labels(self._named(name), measure, window).set(ratio)

    def _named(self, limit: str) -> str:
        known = [one.name for one in self._book.limits[:_MOST_LIMITS]]
        return limit if limit in known else "other"
