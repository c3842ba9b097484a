"""What every face of the gate stands on, put together around one log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from portcullis.bootstrap import reviews
from portcullis.bootstrap.alarm import LoggedAlarm
from portcullis.bootstrap.background import background
from portcullis.bootstrap.behaviour import behaving, unusual
from portcullis.bootstrap.breakers import breaking
from portcullis.bootstrap.exporters import run_exporters
from portcullis.bootstrap.firewall import detectors, ending, findable, firewall, known, warm
from portcullis.bootstrap.limits import limiting
from portcullis.bootstrap.oversight import asking, upkeep
from portcullis.bootstrap.projection import projecting
from portcullis.bootstrap.quarantine import isolating
from portcullis.bootstrap.replicas import run_replicas
from portcullis.bootstrap.retention import contents_of, expiring, pruning
from portcullis.bootstrap.scan import tool_scan
from portcullis.bootstrap.sharing import (
    Among,
    called_of,
    conversations_of,
    secret,
    steps_of,
    sweeping,
    vaults_of,
)
from portcullis.bootstrap.witnesses import watch_witnesses
from portcullis.catalogue.inventory import LocalInventory
from portcullis.catalogue.pins import PinBook
from portcullis.catalogue.schema import fault
from portcullis.checks.answered import Answered
from portcullis.checks.authorize import Authorize
from portcullis.checks.breaker import AgentBreaker, UpstreamBreaker
from portcullis.checks.budget import Budget
from portcullis.checks.contain import Contain
from portcullis.checks.isolate import Isolate
from portcullis.checks.memory import Memory
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
from portcullis.execution.endpoint import Endpoint, endpoints
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp.channels import McpChannels
from portcullis.execution.secrets import local_secrets
from portcullis.execution.tls import Tls
from portcullis.gateway.access import Access
from portcullis.gateway.guard import Shows
from portcullis.gateway.live import Live
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversations import Conversations
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records, changed, new_id
from portcullis.policy.engine import CompiledPolicy
from portcullis.policy.reload import PolicyReload
from portcullis.wire.mcp_state import Seal

log = structlog.get_logger(__name__)


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
    mcp: Mcp
    book: PinBook
    conversations: Conversations
    here: Among | None
    forwarder: HttpForwarder
    registry: CollectorRegistry
    metrics: Metrics
    standing: Standing
    limits: LimitParts


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
        loop = asyncio.get_running_loop()
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

        entities = findable(config.inspection)

        def adopt(new: CompiledPolicy) -> None:
            known(new, entities)
            in_force = {"policy": new.digest}
            recorder.enqueue(changed(origin, clock, "policy.activate", in_force))
            inventory.narrow(new.schemas)
            inventory.tolerate(new.tolerated)
            loop.run_in_executor(None, warm, new, found.built)
            loop.call_soon(services.feed.policy_changed)  # once it is in force
            log.info("policy_activated", **in_force)

        def report(problem: Problem) -> None:
            log.error("policy_refused", code=problem.code, detail=problem.detail)
            pipeline.refused(problem, kind=EventType.ADMIN, method="policy.activate")

        policy = PolicyReload(config.policy, fragment=fault, adopt=adopt, report=report)
        services.feed.by_role(policy.pdp.role_of, policy.pdp.roles)
        vaults = vaults_of(stack, config, services)
        restore, inspect = firewall(found, config, services, policy.pdp, inventory, vaults)
        authorize = Authorize(policy.pdp)
        unvouched = [name for name, one in config.guard.items() if not one.trusted]
        provenance = Provenance(policy.pdp, services.labels, unvouched)
        alarm = LoggedAlarm(registry)
        levels = await stack.enter_async_context(
            behaving(config, services, registry, alarm, policy.pdp.role_of)
        )
        breakers = await stack.enter_async_context(breaking(config, services, registry, alarm))
        isolate = Isolate(services.feed, policy.pdp)
        sources = local_secrets(environ)
        limit, left = await stack.enter_async_context(
            limiting(
                *(config, services, policy.pdp, sources, registry),
                breakers=breakers,
                levels=levels,
            )
        )
        checks = (
            Contain(services.feed, sessions),
            isolate,
            AgentBreaker(breakers),
            restore,
            Validate(inventory, policy.pdp),
            authorize,
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
        )
        contents = contents_of(config, services)
        looked_at = reviews.flagged(config)
        records = Records(
            *(origin, recorder, sessions, policy.pdp, clock, contents, looked_at),
            precedents=services.desk_parts.precedents if services.desk_parts else None,
        )
        metrics = Metrics(registry)
        awaited = [RiskClass(risk) for risk in config.audit.await_witnesses]
        observers = (isolate, breakers, limit)
        pipeline = Pipeline(
            *(checks, recorder, records, metrics, awaited),
            asking(services, steps_of(stack, config, services)),
            observers,
        )
        watch_witnesses(services, registry)
        forwarder = HttpForwarder(endpoints(config), secrets=sources, limits=limits, tls=tls)
        stack.push_async_callback(forwarder.close)
        channels = McpChannels(
            config.mcp, forwarder=forwarder, secrets=sources, limits=limits, environ=environ
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
        if Role.of(origin.rpartition("/")[2]).lasting:  # a wrapper's server is its client's
            services.feed.subscribe(partial(conversations.sweep, services.feed))
        for work in (policy.run(), conversations.run(), services.feed.watch(), book.watch()):
            await stack.enter_async_context(background(work))
        for keeping in (
            expiring(config, services),
            pruning(services),
            upkeep(services),
            isolating(config, services, levels, alarm),
            reviews.upkeep(config, services),
            ending((vaults, provenance), sessions),
            sweeping(vaults, sessions),
        ):
            await stack.enter_async_context(background(keeping))
        run_exporters(stack, config, services, sources, registry)
        name = origin.rpartition("/")[2]
        await stack.enter_async_context(projecting(config, name, registry))
        run_replicas(stack, config, services, sources, registry)
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
            mcp=mcp,
            book=book,
            conversations=conversations,
            here=here,
            forwarder=forwarder,
            registry=registry,
            metrics=metrics,
            standing=limit,
            limits=left,
        )
