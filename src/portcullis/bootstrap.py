"""The only composition root: here adapters meet the ports, and nowhere else.

A new check, store or secret source is one file of its own plus one line here.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from portcullis import __version__
from portcullis.audit.log import open_log
from portcullis.catalogue.inventory import LocalInventory
from portcullis.catalogue.schema import fault
from portcullis.checks.authorize import Authorize
from portcullis.checks.contain import Contain
from portcullis.checks.validate import Validate
from portcullis.config import Config, McpUpstream
from portcullis.control import admin, agents_api
from portcullis.control.principals import LOCAL
from portcullis.control.services import Services
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.trace import new_trace
from portcullis.execution.endpoint import endpoints
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp.channels import McpChannels
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.access import Access
from portcullis.gateway.listener import Listener
from portcullis.gateway.llm import ModelRoutes
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversations import Conversations
from portcullis.gateway.mcp_http import McpHttp
from portcullis.gateway.mcp_stdio import serve_stdio, standard_streams
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records, changed, new_id
from portcullis.gateway.router import Router
from portcullis.identity.keys import issuer_key
from portcullis.identity.tokens import Minted, TokenAuthority
from portcullis.policy.engine import CompiledPolicy
from portcullis.policy.reload import PolicyReload
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_sqlite
from portcullis.store.killfeed import LocalKillFeed
from portcullis.store.sessions import LocalSessionState, SharedSessionState
from portcullis.wire.mcp_state import Seal

log = structlog.get_logger(__name__)

GATE = "gate"
"""The name of the gate's own log."""

_WRAPPERS = 16
"""Most `portcullis mcp` processes for one server at once; each writes a log of its own."""

_RENEW_SECONDS = 60

GATE_FILE = "gate.json"
"""Below the state directory while a gate runs: where its control plane listens."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


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


@dataclass(frozen=True, slots=True)
class Gate:
    """A running gate. ``reload_policy`` looks at the policy folder at once."""

    gate_url: str
    control_url: str
    audit_directory: Path
    services: Services
    reload_policy: Callable[[], None]


@contextlib.asynccontextmanager
async def running_gate(config: Config) -> AsyncIterator[Gate]:
    """Run a gate on its two listeners until the block ends; then drain and close.

    Raises Problem when it cannot start: configuration, policy, keys, log or addresses.
    """
    async with assembled(config, GATE, os.environ) as parts:
        limits = config.limits
        router = Router(
            access=parts.access,
            pipeline=parts.pipeline,
            models=ModelRoutes(parts.pipeline, parts.forwarder, config.models, limits),
            mcp=McpHttp(parts.mcp, parts.conversations),
            api=agents_api.create_app(parts.services),
            limits=limits,
            metrics=parts.metrics,
        )
        control = admin.create_app(
            parts.services,
            registry=parts.registry,
            ready=lambda: not (router.draining or parts.services.recorder.failure),
        )

        def refused(problem: Problem, peer: str) -> Problem:
            return parts.pipeline.refused(problem, source=peer, method="http")

        async with contextlib.AsyncExitStack() as stack:
            # the control plane opens first and closes last: operators act while the gate drains
            place = config.state / GATE_FILE
            stack.callback(place.unlink, missing_ok=True)
            listeners = []
            for app, address in ((control, config.listen.control), (router, config.listen.gate)):
                listener = Listener(
                    app,
                    address,
                    refused=refused,
                    seconds=limits.receive_seconds,
                    drain_seconds=limits.drain_seconds,
                    stalled_seconds=limits.idle_seconds,
                )
                await listener.open()
                stack.push_async_callback(listener.close)
                listeners.append(listener)
            stack.callback(router.drain)
            plane, gate = listeners
            place.write_text(
                json.dumps({"control": plane.url, "gate": gate.url, "pid": os.getpid()})
            )
            yield Gate(
                gate.url, plane.url, audit_directory(config), parts.services, parts.reload_policy
            )


async def wrap_stdio(
    config: Config, server: str, upstream: McpUpstream, *, agent: str, token: str
) -> None:
    """Serve MCP on standard streams in front of one stdio server, with every check in between.

    The caller is ``agent``, vouched for by the issuer's key in the state directory, or whoever
    ``token`` was minted for. The log is one of its own below ``state/mcp``, since one process
    writes one log.
    """
    alone = config.model_copy(update={"mcp": {server: upstream}, "models": {}})
    async with contextlib.AsyncExitStack() as stack:
        parts = await _first_free(stack, alone, server)
        vouched = _Vouched(parts.services, agent)

        async def context() -> Context:
            credential = token or await vouched.credential()
            return await parts.access.admit(credential, source="stdio", trace_id=new_trace())

        reader, writer = await standard_streams()
        await serve_stdio(
            reader,
            writer,
            mcp=parts.mcp,
            conversations=parts.conversations,
            server=server,
            contexts=context,
        )


class _Vouched:
    """Tokens for one agent, minted under the issuer's key that this process can read."""

    def __init__(self, services: Services, agent: str) -> None:
        self._principals = services.principals("cli")
        self._clock = services.clock
        self._agent = agent
        self._minted: Minted | None = None

    async def credential(self) -> str:
        """A token that is good for a while yet. Raises Problem PC2007 for an unknown agent."""
        now = self._clock.now()
        if self._minted is None or self._minted.expires_at - now < _RENEW_SECONDS:
            name = f"{LOCAL}{getpass.getuser()}"
            owner = Principal(
                kind=PrincipalKind.OPERATOR, id=name, credential="issuer-key", expires_at=now
            )
            context = Context(
                principal=owner, session=None, source="stdio", trace_id="", received_at=now
            )
            self._minted = await self._principals.mint(context, PrincipalKind.AGENT, self._agent)
        return self._minted.token


async def _first_free(stack: contextlib.AsyncExitStack, config: Config, server: str) -> Parts:
    """Assemble around the first of a server's logs that no other process is writing."""
    for number in range(1, _WRAPPERS + 1):
        name = f"mcp-{server}" if number == 1 else f"mcp-{server}-{number}"
        try:
            return await stack.enter_async_context(assembled(config, name, os.environ))
        except Problem as problem:
            if problem.code != "PC6003" or number == _WRAPPERS:
                raise
    raise Problem("PC6003", "no log is free")


def founded(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack, config: Config, name: str
) -> Services:
    """Open what outlives a process: keys, the log called ``name``, principals and sessions.

    The stack closes it. ``gate`` is the gate's own log; the others lie below ``state/mcp``.
    Raises Problem PC6003 while another process writes the log.
    """
    clock, state = SystemClock(), config.state
    try:
        for folder in (state, state / "keys"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        detail = f"state: {state} cannot be used: {error.strerror}"
        raise Problem("PC7001", detail, hint="Run `portcullis doctor`.") from None
    origin = f"{config.trust_domain}/{name}"
    recorder = open_log(
        audit_directory(config, name),
        state / "keys" / name,
        origin,
        queue=config.limits.audit_queue,
        checkpoint_seconds=config.audit.checkpoint_seconds,
    )
    stack.callback(recorder.close)
    engine = open_sqlite(state / "portcullis.db")
    stack.callback(engine.dispose)
    directory = SqlDirectory(engine)
    return Services(
        authority=authority_of(config),
        directory=directory,
        feed=LocalKillFeed(engine, directory, clock),
        sessions=(LocalSessionState if name == GATE else SharedSessionState)(engine, clock),
        recorder=recorder,
        clock=clock,
        tokens=config.tokens,
        limits=config.limits,
        gateway=origin,
        version=__version__,
        new_id=new_id,
    )


def authority_of(config: Config) -> TokenAuthority:
    """The issuer of this deployment's tokens; its key is made when there is none."""
    return TokenAuthority(
        issuer_key(config.state / "keys"),
        trust_domain=config.trust_domain,
        clock=SystemClock(),
        new_id=new_id,
    )


def audit_directory(config: Config, name: str = GATE) -> Path:
    """Where a log lies: the gate's own, or that of a ``portcullis mcp``."""
    return config.state / "log" if name == GATE else config.state / "mcp" / name


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
            await stack.enter_async_context(_background(work))
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
async def _background(work: Awaitable[Any]) -> AsyncIterator[None]:
    """Run something beside the block, and end it with the block."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
