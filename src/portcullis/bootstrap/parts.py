"""What every face of the gate stands on, put together around one log."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from portcullis.bootstrap.foundation import founded
from portcullis.catalogue.inventory import LocalInventory
from portcullis.catalogue.schema import fault
from portcullis.checks.authorize import Authorize
from portcullis.checks.contain import Contain
from portcullis.checks.validate import Validate
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.execution.endpoint import endpoints
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp.channels import McpChannels
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.access import Access
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversations import Conversations
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records, changed
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
    pipeline: Pipeline
    reload_policy: Callable[[], None]
    mcp: Mcp
    conversations: Conversations
    forwarder: HttpForwarder
    registry: CollectorRegistry
    metrics: Metrics


@contextlib.asynccontextmanager
async def assembled(config: Config, name: str, environ: Mapping[str, str]) -> AsyncIterator[Parts]:
    """Put the parts together around the log called ``name``; take them apart in reverse."""
    limits, registry = config.limits, CollectorRegistry()
    async with contextlib.AsyncExitStack() as stack:
        services = founded(stack, config, name)
        recorder, sessions, clock = services.recorder, services.sessions, services.clock
        origin = services.gateway
        inventory = LocalInventory()

        def adopt(new: CompiledPolicy) -> None:
            in_force = {"policy": new.digest}
            recorder.enqueue(changed(origin, clock, "policy.activate", in_force))
            inventory.narrow(new.schemas)
            log.info("policy_activated", **in_force)

        def report(problem: Problem) -> None:
            log.error("policy_refused", code=problem.code, detail=problem.detail)
            pipeline.refused(problem, kind=EventType.ADMIN, method="policy.activate")

        policy = PolicyReload(config.policy, fragment=fault, adopt=adopt, report=report)
        checks = (
            Contain(services.feed, sessions),
            Validate(inventory, policy.pdp),
            Authorize(policy.pdp),
        )
        records = Records(origin, recorder, sessions, policy.pdp, clock)
        metrics = Metrics(registry)
        pipeline = Pipeline(checks, recorder, records, metrics)
        sources = local_secrets(environ)
        forwarder = HttpForwarder(endpoints(config), secrets=sources, limits=limits)
        stack.push_async_callback(forwarder.close)
        channels = McpChannels(
            config.mcp, forwarder=forwarder, secrets=sources, limits=limits, environ=environ
        )
        stack.push_async_callback(channels.close)
        mcp = Mcp(
            pipeline=pipeline,
            inventory=inventory,
            channels=channels,
            seal=Seal(secrets.token_bytes(32)),
            clock=clock,
            limits=limits,
        )
        conversations = Conversations(mcp)
        stack.push_async_callback(conversations.close)
        for work in (policy.run(), conversations.run(), services.feed.watch()):
            await stack.enter_async_context(background(work))
        yield Parts(
            config=config,
            services=services,
            access=Access(services.authority, sessions, clock),
            pipeline=pipeline,
            reload_policy=policy.reload,
            mcp=mcp,
            conversations=conversations,
            forwarder=forwarder,
            registry=registry,
            metrics=metrics,
        )


@contextlib.asynccontextmanager
async def background(work: Awaitable[Any]) -> AsyncIterator[None]:
    """Run something beside the block, and end it with the block."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
