"""What every face of the gate stands on, put together around one log."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry

from portcullis.bootstrap import reviews
from portcullis.bootstrap.alerts import Alerts, alerting
from portcullis.bootstrap.behaviour import behaving, unusual
from portcullis.bootstrap.beside import beside
from portcullis.bootstrap.breakers import breaking
from portcullis.bootstrap.bundles import taking_bundles
from portcullis.bootstrap.certifying import reviewing
from portcullis.bootstrap.decisions import deciding, opinions
from portcullis.bootstrap.firewall import Keeper, detectors, ending, firewall
from portcullis.bootstrap.governed import governed
from portcullis.bootstrap.incidents import probation, resuming
from portcullis.bootstrap.limits import limiting
from portcullis.bootstrap.observing import observing
from portcullis.bootstrap.on_behalf import OnBehalf, forwarding
from portcullis.bootstrap.oversight import asking
from portcullis.bootstrap.quarantine import isolating
from portcullis.bootstrap.retention import contents_of, precedents_of
from portcullis.bootstrap.scan import tool_scan
from portcullis.bootstrap.secrets import brokering, rotating
from portcullis.bootstrap.sharing import (
    Among,
    called_of,
    conversations_of,
    digests_of,
    secret,
    steps_of,
    sweeping,
    vaults_of,
)
from portcullis.bootstrap.telemetry import tracing
from portcullis.bootstrap.tools import EndsWithSession, boxed, boxes_of, own_tools
from portcullis.catalogue.inventory import LocalInventory
from portcullis.catalogue.pins import PinBook
from portcullis.checks.answered import Answered
from portcullis.checks.aside import Aside
from portcullis.checks.authorize import Authorize
from portcullis.checks.breaker import AgentBreaker, UpstreamBreaker
from portcullis.checks.budget import Budget
from portcullis.checks.contain import Contain
from portcullis.checks.isolate import Isolate
from portcullis.checks.memory import Memory
from portcullis.checks.oblige import Oblige
from portcullis.checks.overheard import Overheard
from portcullis.checks.provenance import Provenance
from portcullis.checks.validate import Validate
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.desk import Meaning
from portcullis.control.limits import LimitParts
from portcullis.control.scopes import Scopes
from portcullis.control.services import Services
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.core.limit_ports import Standing
from portcullis.core.ports import SecretSource
from portcullis.execution.endpoint import Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp.channels import McpChannels
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.tls import Tls
from portcullis.gateway.access import Access
from portcullis.gateway.decisions import Decisions
from portcullis.gateway.guard import Shows
from portcullis.gateway.live import Live
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversations import Conversations
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records, new_id
from portcullis.gateway.tracing import Tracer
from portcullis.gateway.underway import Underway
from portcullis.wire.mcp_state import Seal


@dataclass(frozen=True, slots=True)
class Parts:
    """What every face of the gate stands on."""

    config: Config
    services: Services
    access: Access
    live: Live
    usable: Scopes
    shows: Shows
    pipeline: Pipeline
    reload_policy: Callable[[], None]
    meaning: Meaning
    digest: Callable[[], str]
    mcp: Mcp
    book: PinBook
    conversations: Conversations
    here: Among | None
    forwarder: HttpForwarder
    on_behalf: OnBehalf | None
    registry: CollectorRegistry
    metrics: Metrics
    standing: Standing
    limits: LimitParts
    alerts: Alerts
    secrets: SecretSource | SecretBroker
    terminated: Callable[[str], tuple[str, ...]]
    decisions: Decisions
    behind: Callable[[], bool]
    tracer: Tracer | None


@contextlib.asynccontextmanager
async def assembled(
    config: Config,
    services: Services,
    live: Live,
    environ: Mapping[str, str],
    tls: Callable[[Endpoint], Tls] | None = None,
) -> AsyncIterator[Parts]:
    """Put the parts together; take them apart in reverse. ``tls`` verifies the upstreams."""
    limits, registry = config.limits, CollectorRegistry()
    async with contextlib.AsyncExitStack() as stack:
        recorder, sessions, clock = services.recorder, services.sessions, services.clock
        origin = services.gateway
        role = Role.of(origin.rpartition("/")[2])
        found = detectors(config, services)
        book = PinBook(
            services.pins,
            scan=tool_scan(found.built.inspector),
            recorder=recorder,
            clock=clock,
            gateway=origin,
            new_id=new_id,
        )
        inventory = LocalInventory(book)

        def report(problem: Problem, method: str = "policy.activate") -> None:
            pipeline.refused(problem, kind=EventType.ADMIN, method=method)

        policy = await governed(config, services, found, inventory, report)
        vaults = vaults_of(stack, config, services)
        commit = digests_of(stack, config, services)
        restore, inspect = firewall(found, config, services, policy.pdp, inventory, vaults, commit)
        authorize = Authorize(policy.pdp, Aside(policy.pdp))
        unvouched = [name for name, one in config.guard.items() if not one.trusted]
        provenance = Provenance(policy.pdp, services.labels, unvouched)
        alarm = await stack.enter_async_context(alerting(config, services, registry))
        levels = await stack.enter_async_context(
            behaving(config, services, registry, alarm, policy.pdp.role_of)
        )
        breakers = await stack.enter_async_context(breaking(config, services, registry, alarm))
        probations = await stack.enter_async_context(probation(config, services))
        isolate = Isolate(services.feed, policy.pdp)
        sources = await stack.enter_async_context(brokering(services))
        limit, left = await stack.enter_async_context(
            limiting(
                *(config, services, policy.pdp, sources, registry),
                breakers=breakers,
                levels=levels,
                probations=probations,
            )
        )
        checks = (
            Contain(services.feed, sessions, policy.behind),
            isolate,
            AgentBreaker(breakers),
            restore,
            Validate(inventory, policy.pdp, authorize.aside),
            authorize,
            *opinions(stack, config, sources, policy.pdp),
            provenance,
            Memory(policy.pdp, provenance, services.labels, services.memories),
            Overheard(
                *(policy.pdp, provenance, services.labels, services.memories),
                called_of(stack, config, services),
            ),
            Answered(policy.pdp, provenance),
            inspect,
            *unusual(config, levels, policy.pdp),
            UpstreamBreaker(breakers),
            Budget(services.spending),
            limit,
            Oblige(policy.pdp, inventory, commit),
        )
        contents = contents_of(config, services)
        looked_at = reviews.flagged(config)
        records = Records(
            *(origin, recorder, sessions, policy.pdp, clock, contents, looked_at),
            precedents=precedents_of(config, services),
        )
        metrics = Metrics(registry)
        awaited = [RiskClass(risk) for risk in config.audit.await_witnesses]
        underway = Underway()
        observers = (isolate, breakers, limit, underway)
        pipeline = Pipeline(
            *(checks, recorder, records, metrics, awaited),
            asking(services, steps_of(stack, config, services)),
            observers,
        )
        services.feed.subscribe(partial(underway.sweep, services.feed, pipeline.chunk))
        on_behalf, forwarder = forwarding(stack, config, services, sources, tls)
        boxes = boxes_of(config, services, registry)
        tools = await own_tools(
            stack, config, boxes, sources, environ, serves=role is not Role.CONTROL
        )
        channels = McpChannels(
            *(config.mcp, boxes, tools),
            forwarder=forwarder,
            secrets=sources,
            limits=limits,
            environ=environ,
        )
        stack.push_async_callback(channels.close)
        mcp = Mcp(
            pipeline=pipeline,
            inventory=inventory,
            channels=channels,
            seal=Seal(secret(config, services.sealer, "mcp-state")),
            clock=clock,
            limits=limits,
        )
        conversations, here = conversations_of(stack, config, services, mcp)
        stack.push_async_callback(conversations.close)
        keepers: list[Keeper] = [vaults, provenance]
        if role.lasting or boxed(config):  # without a box, a wrapper's server is its client's
            services.feed.subscribe(partial(conversations.sweep, services.feed))
            keepers.append(EndsWithSession(conversations))
        works = (
            *(*policy.works(alarm), conversations.run(), services.feed.watch(), book.watch()),
            isolating(config, services, levels, alarm),
            observing(config, services, policy.pdp),
            reviewing(config, services),
            resuming(services),
            rotating(services),
            taking_bundles(config, services, sources, partial(report, method="policy.bundle")),
            ending(keepers, sessions),
            sweeping(vaults, sessions),
        )
        await beside(stack, config, services, sources, registry, works)
        yield Parts(
            config=config,
            services=services,
            access=Access(services.authority, sessions, clock),
            live=live,
            usable=Scopes(policy.pdp),
            shows=authorize.shows,
            pipeline=pipeline,
            reload_policy=policy.reload,
            meaning=policy.pdp.model,
            digest=lambda: policy.pdp.digest,
            mcp=mcp,
            book=book,
            conversations=conversations,
            here=here,
            forwarder=forwarder,
            on_behalf=on_behalf,
            registry=registry,
            metrics=metrics,
            standing=limit,
            limits=left,
            alerts=alarm,
            secrets=sources,
            terminated=policy.pdp.terminated,
            tracer=(tracer := tracing(stack, config, services, sources, registry)),
            decisions=deciding(
                *(config, services, policy.pdp, inventory, checks, records, metrics, tracer)
            ),
            behind=policy.behind,
        )
