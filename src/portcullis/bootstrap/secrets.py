"""The secret broker, put together: who remembers uses, what rotates on schedule."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from sqlalchemy import Engine

from portcullis.bootstrap.background import background
from portcullis.bootstrap.incidents_history import rotations_of
from portcullis.bootstrap.keys import SystemClock
from portcullis.bootstrap.secret_sources import Sources, sources_of
from portcullis.bootstrap.sharing import secret
from portcullis.config import Config
from portcullis.config.guarded import own_secrets
from portcullis.config.places import Role
from portcullis.control.containment import by_itself
from portcullis.control.secrets import DAY, HOUR, Configured, SecretParts
from portcullis.control.services import Services
from portcullis.core.alert import Alert
from portcullis.core.errors import Problem
from portcullis.core.ports import Directory, Recorder, Sealer
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.gateway.records import changed
from portcullis.review.incident_access import configured
from portcullis.store.leases import SqlLeases

HONEYTOKEN_USED: Final = "honeytoken-used"
"""The alert rule after which an agent is quarantined."""
_PURPOSE: Final = "secret-versions"
_LOOK_SECONDS: Final = 30.0
_FORGET_SECONDS: Final = 3600.0
_BY_SCHEDULE: Final = "it is due"

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def brokering(services: Services) -> AsyncIterator[SecretBroker]:
    """The broker of a process, which keeps its books beside the block. Problem PC7005: no parts."""
    parts = services.secret_parts
    if parts is None:
        raise Problem("PC7005", "no secrets are given out here")
    try:
        async with background(parts.broker.keep()):
            yield parts.broker
    finally:
        await asyncio.to_thread(parts.broker.close)


async def rotating(services: Services) -> None:
    """Rotate what is due and forget old uses, in the process that rules; runs until cancelled."""
    if services.secret_parts is None or not Role.of(services.gateway.rpartition("/")[2]).rules:
        return
    brokered, forgotten = services.brokered("schedule"), 0.0
    while True:
        try:
            for reference in await brokered.due():
                await brokered.rotate(by_itself(services.clock.now()), reference, _BY_SCHEDULE)
            if services.clock.monotonic() >= forgotten:
                forgotten = services.clock.monotonic() + _FORGET_SECONDS
                await brokered.forget()
        except Problem as problem:
            log.warning("secrets_not_rotated", code=problem.code)
        await asyncio.sleep(_LOOK_SECONDS)


def baited(services: Services) -> Callable[[Alert], None]:
    """What is told of each new alert, on whichever thread: a thief is quarantined.

    Make it on the loop that the services are used on. It returns at once and never raises.
    """
    if not Role.of(services.gateway.rpartition("/")[2]).rules:
        return lambda _: None
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def isolated(agent: str) -> None:
        try:
            service = services.quarantining("behaviour")
            if all((one.scope, one.value) != ("agent", agent) for one in await service.list()):
                now = services.clock.now()
                await service.begin(by_itself(now), "agent", agent, "it used a honeytoken")
        except Exception as error:  # noqa: BLE001 - the call was refused and the alert stands
            fault = error.code if isinstance(error, Problem) else type(error).__name__
            log.warning("thief_not_quarantined", agent=agent, fault=fault)

    def begin(agent: str) -> None:
        task = loop.create_task(isolated(agent))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def told(alert: Alert) -> None:
        agent = alert.group.get("principal", "")
        if alert.rule == HONEYTOKEN_USED and agent:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(begin, agent)

    return told


def secret_parts_of(
    config: Config,
    engine: Engine,
    directory: Directory,
    sealer: Sealer,
    recorder: Recorder,
    name: str,
) -> SecretParts:
    """What is known of secrets, and what rotates them.

    Raises Problem PC7001 for an upstream with a honeytoken, and for a schedule that nothing keeps.
    """
    sources = sources_of(config, os.environ, sealer)
    leases, found, clock = SqlLeases(engine), _configured(config, sources), SystemClock()
    for one in found.values():
        if one.honeytoken and one.upstreams:
            raise Problem("PC7001", f"{one.upstreams[0]} is configured with a honeytoken")
        if one.every and not one.hook:
            detail = f"secrets.known: nothing rotates {one.reference.partition(':')[0]}:"
            raise Problem("PC7001", detail, hint="Name a program under incidents.rotation.")

    def told(reference: str, version: str) -> None:
        parameters = {"secret": reference, "version": version}
        with contextlib.suppress(Problem):  # what is sent with it is recorded, or not sent
            recorder.enqueue(
                changed(f"{config.trust_domain}/{name}", clock, "secret.changed", parameters)
            )

    settings = config.secrets
    broker = SecretBroker(
        sources.registry,
        key=secret(config, sealer, _PURPOSE),
        leases=leases,
        clock=clock,
        fresh_seconds=settings.fresh_seconds,
        overlap_seconds=settings.overlap_seconds,
        remote=sources.remote,
        forbidden=settings.honeytokens(),
        changed=told,
    )
    return SecretParts(
        broker=broker,
        leases=leases,
        configured=found,
        rotations=rotations_of(config, engine, directory, sources, leases),
        keep_seconds=config.secrets.keep_days * DAY,
    )


def _configured(config: Config, sources: Sources) -> dict[str, Configured]:
    upstreams: dict[str, list[str]] = {known.reference: [] for known in config.secrets.known}
    used = [(one.reference, one.upstream) for one in configured(config)]
    for reference, place in (*used, *own_secrets(config)):
        upstreams.setdefault(reference, []).append(place)
    special = {known.reference: known for known in config.secrets.known}
    return {
        reference: Configured(
            reference=reference,
            upstreams=tuple(dict.fromkeys(names)),
            every=(special[reference].rotate_every_hours or 0.0) * HOUR
            if reference in special
            else 0.0,
            honeytoken=reference in special and special[reference].honeytoken,
            hook=reference.partition(":")[0] in sources.hooks,
        )
        for reference, names in upstreams.items()
    }
