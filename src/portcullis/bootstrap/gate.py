"""The gate on its listeners: all in one process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from portcullis.bootstrap.background import background
from portcullis.bootstrap.deciding import listening_envoy
from portcullis.bootstrap.domain import Domain, opened
from portcullis.bootstrap.egress import egressing
from portcullis.bootstrap.evidence import Evidence
from portcullis.bootstrap.feed import publishing
from portcullis.bootstrap.foundation import founded
from portcullis.bootstrap.leaving import doors
from portcullis.bootstrap.listening import enforcement, for_agents, for_operators, listening
from portcullis.bootstrap.notices import telling
from portcullis.bootstrap.parts import assembled
from portcullis.bootstrap.presence import GATE_FILE, presence
from portcullis.config import Config
from portcullis.config.places import GATE, Role, audit_directory, log_name
from portcullis.control.services import Services
from portcullis.execution.tls import upstream_tls
from portcullis.gateway.live import Live


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


@contextlib.asynccontextmanager
async def running_gate(config: Config) -> AsyncIterator[Gate]:
    """Run a gate on its listeners until the block ends; then drain and close.

    Raises Problem when it cannot start: configuration, policy, keys, log or addresses.
    """
    async with contextlib.AsyncExitStack() as stack:
        own = log_name(config, GATE)
        services = founded(stack, config, own)
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
        await stack.enter_async_context(publishing(config, services, live))
        say = stack.enter_context(presence(config.state / GATE_FILE, Role.ALONE))
        agents = await enforcement(stack, parts, domain)
        operators = for_operators(parts, domain, ready=lambda: not agents.router.draining)
        # The control plane opens first and closes last: operators act while the gate drains.
        urls = await listening(stack, parts, operators)
        door = await stack.enter_async_context(doors())
        urls |= await listening(door(), parts, for_agents(parts, domain, agents.router))
        urls |= await listening_envoy(door(), parts, domain)
        urls |= await egressing(door(), parts, domain, urls)
        stack.push_async_callback(agents.leave, config.limits.drain_notice_seconds)
        told = telling(*(config, services, parts.registry, urls["control"], parts.alerts.subscribe))
        await stack.enter_async_context(told)
        workload = await stack.enter_async_context(domain.workload_api())
        evidence = Evidence(config, services, parts.registry, own)
        await stack.enter_async_context(background(evidence.run()))
        say(urls)
        yield Gate(
            urls,
            workload,
            audit_directory(config, own),
            services,
            domain,
            parts.reload_policy,
            parts.registry,
        )
