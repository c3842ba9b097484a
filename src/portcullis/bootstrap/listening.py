"""The listeners: what agents reach, what operators reach, and how each is opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute

from portcullis.bootstrap.background import background
from portcullis.bootstrap.bundles import serving
from portcullis.bootstrap.deciding import authzen
from portcullis.bootstrap.domain import Domain
from portcullis.bootstrap.leaving import doors
from portcullis.bootstrap.notices import chat
from portcullis.bootstrap.parts import Parts
from portcullis.bootstrap.relaying import relay_of, taking
from portcullis.bootstrap.telemetry import scraper
from portcullis.bootstrap.threatening import threatened
from portcullis.config import Config
from portcullis.config.places import logs_of
from portcullis.control import (
    activity_api,
    admin,
    agents_api,
    alerts_api,
    approvals_api,
    backups_api,
    behaviour_api,
    breakers_api,
    bundles_api,
    catalogue_api,
    certifying_api,
    chat_api,
    connections_api,
    incidents_api,
    incidents_timeline_api,
    kills_api,
    limits_api,
    live_api,
    privacy_api,
    pruning_api,
    quarantine_api,
    releases_api,
    retiring_api,
    reviews_api,
    runs_api,
    secrets_api,
)
from portcullis.control.bundle import bootstrap_app
from portcullis.control.bundles import Bundles
from portcullis.control.console.app import ROUTE as CONSOLE
from portcullis.control.console.app import ConsoleParts, console_routes
from portcullis.control.console.streams import Streams
from portcullis.control.edge import Edge
from portcullis.control.limits import Limits as LimitsLeft
from portcullis.control.login import Logins
from portcullis.control.runs_api import Runs
from portcullis.control.tools import standing
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.core.relay_ports import Peers
from portcullis.gateway.guard import Guard
from portcullis.gateway.http import App
from portcullis.gateway.listener import Listener
from portcullis.gateway.llm import ModelRoutes
from portcullis.gateway.mcp_http import McpHttp
from portcullis.gateway.owned import unowned
from portcullis.gateway.relay_door import Door
from portcullis.gateway.router import Router
from portcullis.gateway.tls import ServerTls


class Wanted(NamedTuple):
    """A listener: its name in the configuration, what it serves, where, and under which TLS."""

    name: str
    app: App
    address: str | None
    tls: ServerTls | None
    closing: tuple[Callable[[], object], ...] = ()
    """What ends what would keep it from closing."""


class Enforcement(NamedTuple):
    """What serves agents."""

    router: Router
    guard: Guard
    door: Door | None
    runs: Runs
    bundles: Bundles | None
    urls: Mapping[str, str]
    """Where the gateways of other hosts bring what they pass on."""

    async def leave(self, notice: float) -> None:
        """Say for so many seconds that it will end; whoever waits for something is answered."""
        self.router.drain()
        await asyncio.sleep(notice)
        if self.bundles is not None:
            self.bundles.close()
        self.runs.drain()
        if self.door is not None:
            self.door.drain()


async def enforcement(
    stack: contextlib.AsyncExitStack, parts: Parts, domain: Domain, peers: Peers | None = None
) -> Enforcement:
    """Put together what serves agents; the stack ends it. ``peers`` are other hosts' gateways."""
    config, services = parts.config, parts.services
    guard = Guard(
        parts.pipeline,
        parts.mcp.inventory,
        parts.shows,
        config.guard,
        limits=config.limits,
        clock=services.clock,
        metrics=parts.metrics,
        named=parts.here.ids.calls if parts.here else unowned,
        standing=parts.standing,
    )
    await stack.enter_async_context(background(guard.run()))
    stack.callback(guard.drain)
    runs = runs_api.of(services)
    bundles = serving(config, services) if services.release_parts is not None else None
    router = Router(
        access=parts.access,
        live=parts.live,
        pipeline=parts.pipeline,
        models=ModelRoutes(
            *(parts.pipeline, parts.forwarder, config.models, config.limits), parts.standing
        ),
        mcp=McpHttp(parts.mcp, parts.conversations),
        guard=guard,
        api=agents_api.create_app(
            services,
            trust=domain.trust,
            usable=parts.usable,
            limited=LimitsLeft(parts.limits).of_session,
            names=config.listen.names,
            routers=lambda edge: (
                *domain.agents_routers(edge),
                *_connections(parts, edge),
                runs_api.router(edge, runs),
                *authzen(parts, edge),
                *_bundles(config, edge, bundles),
            ),
            vouching=None if parts.on_behalf is None else parts.on_behalf.connecting("api").vouch,
        ),
        limits=config.limits,
        metrics=parts.metrics,
        names=config.listen.names,
        elsewhere=relay_of(stack, parts, domain, peers),
        tracer=parts.tracer,
    )
    door, urls = await taking(stack, parts, domain, router, guard.busy)
    return Enforcement(router, guard, door, runs, bundles, urls)


def for_agents(parts: Parts, domain: Domain, router: Router) -> tuple[Wanted, ...]:
    """The listeners of an enforcement point."""
    listen = parts.config.listen
    one_way = ServerTls(domain.own, domain.trust, mutual=False)
    mutual = ServerTls(domain.own, domain.trust, mutual=True)
    return (
        Wanted("gate", router, listen.gate, None),
        Wanted("tls", router, listen.tls, one_way),
        Wanted("mtls", router, listen.mtls, mutual),
    )


def for_operators(
    parts: Parts,
    domain: Domain,
    ready: Callable[[], bool],
    figures: Callable[[CollectorRegistry], Awaitable[bytes]] = admin.alone,
) -> tuple[Wanted, ...]:
    """The listeners of a control plane.

    ``ready`` says whether its gateways serve, ``figures`` is as in ``admin.create_app``.
    """
    config, services = parts.config, parts.services
    listen = config.listen
    streams, bundles = Streams(services.feed, services.clock), serving(config, services)

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
                limits=parts.limits,
                meaning=parts.meaning,
                tools=standing(config),
                threats=threatened(config, services),
                environment=config.environment,
                logs=lambda: tuple(str(place) for place in logs_of(config).values()),
                connecting=parts.on_behalf.connecting(CONSOLE) if parts.on_behalf else None,
            )
        )

    control = admin.create_app(
        services,
        registry=parts.registry,
        figures=figures,
        scraper=scraper(config, parts.secrets),
        ready=lambda: ready() and not services.recorder.failure,
        routers=lambda edge: (
            *kills_api.routers(edge, services.kills("control")),  # first: routes are tried in turn
            *domain.control_routers(edge),
            *catalogue_api.routers(edge, services.catalogue("control", parts.book.refresh)),
            *approvals_api.routers(edge, services.approvals("control"), services.desk("control")),
            activity_api.router(edge, services.activity()),
            limits_api.router(edge, LimitsLeft(parts.limits)),
            live_api.router(edge, services.watching(), streams),
            *reviews_api.routers(edge, services.reviews("control")),
            *alerts_api.routers(edge, services.alerting("control")),
            *incidents_api.routers(edge, services.incidents("control")),
            incidents_timeline_api.router(edge, services.telling("control")),
            *behaviour_api.routers(edge, services.behaving("control")),
            *breakers_api.routers(edge, services.breaking("control")),
            *secrets_api.routers(edge, services.brokered("control")),
            *quarantine_api.routers(edge, services.quarantining("control")),
            bundles_api.router(edge, bundles, config.policy_changes.readers),
            *releases_api.routers(
                edge,
                services.edge("control", body_bytes=releases_api.BODY_BYTES),
                services.releasing("control"),
            ),
            *certifying_api.routers(edge, services.certifying("control")),
            *privacy_api.routers(edge, services.privacy("control")),
            pruning_api.router(edge, services.pruning(), services.records()),
            backups_api.router(edge, services.backups("control")),
            retiring_api.router(edge, services.retiring),
            *_grants(parts, edge),
            *(chat_api.router(edge, one) for one in (chat(config, services),) if one),
        ),
        console=console,
    )
    edge = services.edge("bootstrap")
    bootstrap = bootstrap_app(edge, services.version, *domain.agents_routers(edge))
    one_way = ServerTls(domain.own, domain.trust, mutual=False)
    return (
        Wanted(
            "control",
            control,
            listen.control,
            None,
            (streams.close, services.watching().close, bundles.close),
        ),
        Wanted("bootstrap", bootstrap, listen.bootstrap, one_way),
    )


def _connections(parts: Parts, edge: Edge) -> Iterable[APIRouter]:
    """What applications have their users connect, where there is anything."""
    found = parts.on_behalf
    if found is None:
        return ()
    sessions = parts.services.sessions
    return (connections_api.applications(edge, found.connecting("api"), sessions, found.where),)


def _bundles(config: Config, edge: Edge, bundles: Bundles | None) -> Iterable[APIRouter]:
    """The policy, for applications that may have it: they show a certificate here."""
    readers = config.policy_changes.readers
    return () if bundles is None or not readers else (bundles_api.router(edge, bundles, readers),)


def _grants(parts: Parts, edge: Edge) -> Iterable[APIRouter]:
    """What operators see of it."""
    found = parts.on_behalf
    if found is None:
        return ()
    directory = parts.services.directory
    return connections_api.operators(edge, found.connecting("control"), directory, found.where)


async def listening(
    stack: contextlib.AsyncExitStack,
    parts: Parts,
    wanted: Iterable[Wanted],
    *,
    shared: bool = False,
) -> dict[str, str]:
    """Open the listeners that are configured; their URLs by name. The stack closes them together.

    ``shared`` listeners stand beside those of other processes at the same addresses.
    """
    limits = parts.config.limits

    def refused(problem: Problem, peer: str, **who: str) -> Problem:
        return parts.pipeline.refused(
            problem, EventType.ERROR, source=peer, **({"method": "http"} | who)
        )

    urls: dict[str, str] = {}
    opened = await stack.enter_async_context(doors())
    for one in wanted:
        if one.address is None:
            continue
        listener = Listener(
            one.app,
            one.address,
            refused=refused,
            live=parts.live,
            seconds=limits.receive_seconds,
            drain_seconds=limits.drain_seconds,
            stalled_seconds=limits.idle_seconds,
            tls=one.tls,
            shared=shared,
        )
        await listener.open()
        door = opened()
        door.push_async_callback(listener.close)
        for close in one.closing:
            door.callback(close)
        urls[one.name] = listener.url
    return urls
