"""The gate on its listeners."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute

from portcullis.bootstrap.background import background
from portcullis.bootstrap.domain import Domain, opened
from portcullis.bootstrap.evidence import Evidence
from portcullis.bootstrap.foundation import GATE, audit_directory, founded
from portcullis.bootstrap.notices import chat, telling
from portcullis.bootstrap.parts import Parts, assembled
from portcullis.config import Config
from portcullis.control import (
    activity_api,
    admin,
    agents_api,
    approvals_api,
    catalogue_api,
    chat_api,
    live_api,
    privacy_api,
    pruning_api,
    reviews_api,
)
from portcullis.control.bundle import bootstrap_app
from portcullis.control.console.app import ConsoleParts, console_routes
from portcullis.control.console.streams import Streams
from portcullis.control.login import Logins
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.execution.tls import upstream_tls
from portcullis.gateway.guard import Guard
from portcullis.gateway.http import App
from portcullis.gateway.listener import Listener
from portcullis.gateway.live import Live
from portcullis.gateway.llm import ModelRoutes
from portcullis.gateway.mcp_http import McpHttp
from portcullis.gateway.router import Router
from portcullis.gateway.tls import ServerTls
from portcullis.identity.private import write_private

GATE_FILE = "gate.json"
"""Below the state directory while a gate runs: where it listens."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A running gate. ``urls`` has each listener's by its name in the configuration.

    ``reload_policy`` looks at the policy folder at once; ``registry`` holds the gate's figures.
    """

    urls: dict[str, str]
    workload: Path | None
    audit_directory: Path
    services: Services
    domain: Domain
    reload_policy: Callable[[], None]
    registry: CollectorRegistry

    @property
    def gate_url(self) -> str:
        """The plain loopback listener for agents."""
        return self.urls["gate"]

    @property
    def control_url(self) -> str:
        """The control plane."""
        return self.urls["control"]

    @property
    def mtls_url(self) -> str:
        """The listener that asks for SVIDs. KeyError when it is switched off."""
        return self.urls["mtls"]


def started(pid: int) -> str:
    """When a process began, as the kernel counts (proc_pid_stat(5)); empty when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return fields.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@contextlib.asynccontextmanager
async def running_gate(config: Config) -> AsyncIterator[Gate]:
    """Run a gate on its listeners until the block ends; then drain and close.

    Raises Problem when it cannot start: configuration, policy, keys, log or addresses.
    """
    async with contextlib.AsyncExitStack() as stack:
        services = founded(stack, config, GATE)
        domain = opened(config, services)
        live = Live(services.feed, domain.trust, config.trust_domain, services.clock)
        services.feed.subscribe(live.sweep)
        domain.trust.subscribe(live.sweep)
        await stack.enter_async_context(domain.kept())
        parts = await stack.enter_async_context(
            assembled(
                config, services, live, os.environ, tls=upstream_tls(domain.own, domain.trust)
            )
        )
        place = config.state / GATE_FILE
        stack.callback(place.unlink, missing_ok=True)
        urls = await _listening(stack, config, parts, domain)
        told = telling(config, services, parts.registry, urls["control"])
        await stack.enter_async_context(told)
        workload = await stack.enter_async_context(domain.workload_api())
        evidence = Evidence(config, services, parts.registry, audit_directory(config))
        await stack.enter_async_context(background(evidence.run()))
        pid = os.getpid()
        said = urls | {"pid": pid, "started": started(pid)}
        write_private(place, json.dumps(said).encode())
        yield Gate(
            urls,
            workload,
            audit_directory(config),
            services,
            domain,
            parts.reload_policy,
            parts.registry,
        )


async def _listening(
    stack: contextlib.AsyncExitStack, config: Config, parts: Parts, domain: Domain
) -> dict[str, str]:
    """Open every configured listener; their URLs by name.

    The control plane opens first and closes last: operators act while the gate drains.
    """
    limits, services, listen = config.limits, parts.services, config.listen
    guard = Guard(
        parts.pipeline,
        parts.mcp.inventory,
        parts.shows,
        config.guard,
        limits=limits,
        clock=services.clock,
        metrics=parts.metrics,
    )
    await stack.enter_async_context(background(guard.run()))
    router = Router(
        access=parts.access,
        live=parts.live,
        pipeline=parts.pipeline,
        models=ModelRoutes(parts.pipeline, parts.forwarder, config.models, limits),
        mcp=McpHttp(parts.mcp, parts.conversations),
        guard=guard,
        api=agents_api.create_app(
            services,
            trust=domain.trust,
            usable=parts.usable,
            names=listen.names,
            routers=domain.agents_routers,
        ),
        limits=limits,
        metrics=parts.metrics,
        names=listen.names,
    )
    streams = Streams(services.feed, services.clock)

    def console(logins: Logins) -> list[BaseRoute]:
        if services.passkeys is None or not config.console.enabled:
            return []
        return console_routes(
            ConsoleParts(
                services=services,
                logins=logins,
                passkeys=services.passkeys,
                streams=streams,
                names=listen.names,
                meaning=parts.meaning,
            )
        )

    control = admin.create_app(
        services,
        registry=parts.registry,
        ready=lambda: not (router.draining or services.recorder.failure),
        routers=lambda edge: (
            *domain.control_routers(edge),
            *catalogue_api.routers(edge, services.catalogue("control", parts.book.refresh)),
            *approvals_api.routers(edge, services.approvals("control"), services.desk("control")),
            activity_api.router(edge, services.activity()),
            live_api.router(edge, services.watching(), streams),
            *reviews_api.routers(edge, services.reviews("control")),
            *privacy_api.routers(edge, services.privacy("control")),
            pruning_api.router(edge, services.pruning(), services.records()),
            *(chat_api.router(edge, one) for one in (chat(config, services),) if one),
        ),
        console=console,
    )
    edge = services.edge("bootstrap")
    bootstrap = bootstrap_app(edge, services.version, *domain.agents_routers(edge))
    one_way = ServerTls(domain.own, domain.trust, mutual=False)
    mutual = ServerTls(domain.own, domain.trust, mutual=True)
    wanted: tuple[tuple[str, App, str | None, ServerTls | None], ...] = (
        ("control", control, listen.control, None),
        ("bootstrap", bootstrap, listen.bootstrap, one_way),
        ("gate", router, listen.gate, None),
        ("tls", router, listen.tls, one_way),
        ("mtls", router, listen.mtls, mutual),
    )

    def refused(problem: Problem, peer: str, **who: str) -> Problem:
        return parts.pipeline.refused(
            problem, EventType.ERROR, source=peer, **({"method": "http"} | who)
        )

    urls = {}
    for name, app, address, tls in wanted:
        if address is None:
            continue
        listener = Listener(
            app,
            address,
            refused=refused,
            live=parts.live,
            seconds=limits.receive_seconds,
            drain_seconds=limits.drain_seconds,
            stalled_seconds=limits.idle_seconds,
            tls=tls,
        )
        await listener.open()
        stack.push_async_callback(listener.close)
        if name == "control":
            stack.callback(streams.close)
            stack.callback(services.watching().close)
        urls[name] = listener.url
    stack.callback(guard.drain)
    stack.callback(router.drain)
    return urls
