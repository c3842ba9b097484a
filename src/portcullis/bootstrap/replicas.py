"""Timestamps over the gate's log and replicas of it: from the configuration to threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Gauge

from portcullis.audit.replica.copy import Lock
from portcullis.audit.replica.ship import Shipper
from portcullis.audit.replica.worker import Worker, close_all
from portcullis.audit.stamper import Stamper
from portcullis.audit.timestamps import load_roots
from portcullis.audit.verify import own_verifier
from portcullis.audit.web import Web
from portcullis.bootstrap.secret_sources import used_by
from portcullis.config import Config
from portcullis.config.places import GATE, Role, audit_directory
from portcullis.config.replica import Replica
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, SecretSource
from portcullis.core.record_ports import Retention
from portcullis.gateway.records import changed
from portcullis.store.objects import StoreSettings, open_objects

_MOST_SECONDS = 60.0
"""The longest wait after failures of a replica that is shipped more often than that."""
_OVERDUE = 3
"""So many intervals may pass without a timestamp."""

log = structlog.get_logger(__name__)


def run_replicas(
    stack: contextlib.AsyncExitStack,
    config: Config,
    services: Services,
    secrets: SecretSource,
    registry: CollectorRegistry,
) -> None:
    """Timestamp a lasting log and ship it, until the stack is closed.

    The gate's own goes to the store's URL, each other one below it, by its name. Raises Problem
    PC7001 for settings that cannot be used, PC5007 for keys.
    """
    audit, clock, gateway = config.audit, services.clock, services.gateway
    name = gateway.rpartition("/")[2]
    if not (Role.of(name).lasting and (audit.replicate or audit.timestamps.authorities)):
        return

    def notice(method: str, parameters: dict[str, str]) -> None:
        event = changed(gateway, clock, method, parameters)
        raised = parameters["state"] == "raised"
        if raised:
            event = msgspec.structs.replace(event, verdict="error", code=parameters.get("code", ""))
        log.log(logging.ERROR if raised else logging.INFO, method, **parameters)
        services.recorder.enqueue(event)

    directory = audit_directory(config, name)
    verifier = own_verifier(directory)
    every = audit.timestamps.every_minutes * 60
    stampers = [
        Stamper(
            one.name,
            one.url,
            load_roots(one.certificates),
            directory,
            verifier,
            web=Web("PC6022"),
            clock=clock,
            notice=notice,
            overdue_seconds=_OVERDUE * every,
        )
        for one in audit.timestamps.authorities
    ]
    shippers = [
        Shipper(
            one.name,
            directory,
            verifier,
            open_objects(settings_of(one, used_by(secrets, f"replicate.{one.name}"), name)),
            clock=clock,
            notice=notice,
            lag_seconds=one.lag_seconds,
            lock=_lock(one, clock),
            checks_per_minute=one.checks_per_minute,
        )
        for one in audit.replicate
    ]
    _figures(registry, shippers, stampers)
    workers = [_worker(stamper, "timestamps", every, every) for stamper in stampers]
    for shipper, one in zip(shippers, audit.replicate, strict=True):
        most = max(_MOST_SECONDS, one.every_seconds)
        workers.append(_worker(shipper, "replica", one.every_seconds, most))
    stack.push_async_callback(asyncio.to_thread, close_all, workers)


def _worker(task: Shipper | Stamper, what: str, seconds: float, most: float) -> Worker:
    def failed(problem: Problem) -> None:
        log.warning("failed", what=what, name=task.name, code=problem.code, detail=problem.detail)
        task.failed(problem)

    return Worker(f"{what}-{task.name}", task.step, failed, seconds=seconds, most=most)


def settings_of(replica: Replica, secrets: SecretSource, name: str = GATE) -> StoreSettings:
    """Where the log called ``name`` is shipped to. Raises Problem PC5007 for keys."""
    return StoreSettings(
        url=replica.store if Role.of(name).alone else f"{replica.store.rstrip('/')}/{name}",
        region=replica.region or "",
        endpoint=replica.endpoint or "",
        access_key=secrets.resolve(replica.access_key).reveal() if replica.access_key else "",
        secret_key=secrets.resolve(replica.secret_key).reveal() if replica.secret_key else "",
        session_token=secrets.resolve(replica.session_token).reveal()
        if replica.session_token
        else "",
    )


def _lock(replica: Replica, clock: Clock) -> Lock:
    mode, days = replica.retention, replica.retention_days
    if days is None:
        return lambda: None
    return lambda: Retention(mode, clock.now() + days * 86_400)


def _figures(
    registry: CollectorRegistry, shippers: Sequence[Shipper], stampers: Sequence[Stamper]
) -> None:
    """What /metrics shows, read at each scrape."""
    of_shippers: tuple[tuple[str, str, Callable[[Shipper], float]], ...] = (
        ("lag_entries", "Published entries not yet there.", Shipper.lag_entries),
        ("lag_seconds", "For how long it has been behind.", Shipper.lag_seconds),
        ("differs", "1 while it is not what it should be.", lambda one: one.differs),
        ("failures", "Attempts that failed.", lambda one: one.failures),
        ("checked", "Shipped objects looked at again.", lambda one: one.patrol.checked),
        ("restored", "Objects that were gone and shipped again.", lambda one: one.patrol.restored),
    )
    for name, about, read in of_shippers:
        gauge = Gauge(f"portcullis_audit_replica_{name}", about, ["replica"], registry=registry)
        for shipper in shippers:
            gauge.labels(shipper.name).set_function(_reading(read, shipper))
    age = Gauge(
        "portcullis_audit_timestamp_age_seconds",
        "Since a token covered all that was published.",
        ["authority"],
        registry=registry,
    )
    for stamper in stampers:
        age.labels(stamper.name).set_function(stamper.age)


def _reading(read: Callable[[Shipper], float], shipper: Shipper) -> Callable[[], float]:
    return lambda: float(read(shipper))
