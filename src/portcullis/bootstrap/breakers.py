"""Circuit breakers, put together for one gateway."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Gauge

from portcullis.bootstrap.background import background
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.alarm import Alarm
from portcullis.core.breaker import Scope, State
from portcullis.gateway.records import changed
from portcullis.oversight.breaking import Breakers


@contextlib.asynccontextmanager
async def breaking(
    config: Config, services: Services, registry: CollectorRegistry, alarm: Alarm
) -> AsyncIterator[Breakers]:
    """The breakers of this process, which follow those of the others for as long as the block.

    An agent's is the same for all gateways; an upstream's is each gateway's own, and begins anew
    with it. Raises Problem PC9002 when those that are open cannot be read.
    """
    book, recorder, clock = services.breakers, services.recorder, services.clock

    def record(method: str, said: Mapping[str, Any]) -> None:
        recorder.enqueue(changed(services.gateway, clock, method, said))

    await book.begin()
    breakers = Breakers(
        book,
        config.breakers,
        alarm=alarm,
        record=record,
        clock=clock,
        gateway=services.gateway,
    )
    gauge = Gauge(
        "portcullis_breakers",
        "Breakers that are not closed.",
        ["scope", "state"],
        registry=registry,
    )
    for scope in get_args(Scope):
        for state in (State.OPEN, State.HALF_OPEN):
            gauge.labels(scope, state).set_function(partial(book.count, scope, state))
    async with background(book.watch()):
        yield breakers
        await breakers.settled()
