"""The control plane alone: it decides, publishes and keeps up; it serves no agent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

from portcullis.bootstrap.background import background
from portcullis.bootstrap.domain import opened
from portcullis.bootstrap.evidence import Evidence
from portcullis.bootstrap.feed import publishing
from portcullis.bootstrap.figures import together
from portcullis.bootstrap.foundation import founded
from portcullis.bootstrap.gate import Gate
from portcullis.bootstrap.hosts_logs import bringing_logs
from portcullis.bootstrap.hosts_published import publishing_files
from portcullis.bootstrap.listening import for_operators, listening
from portcullis.bootstrap.notices import telling
from portcullis.bootstrap.parts import assembled
from portcullis.bootstrap.presence import GATE_FILE, presence
from portcullis.config import Config
from portcullis.config.places import CONTROL, Role, audit_directory, log_name
from portcullis.execution.tls import upstream_tls
from portcullis.gateway.live import Live


@contextlib.asynccontextmanager
async def running_control(
    config: Config,
    gateways: Mapping[str, str] | None = None,
    ready: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Gate]:
    """Run the control plane until the block ends.

    ``gateways`` are the URLs at which its gateways listen, by default the configured ones, as far
    as those name a port; ``ready`` says whether enough of them serve. Raises Problem when it
    cannot start, PC6003 while another process rules the deployment.
    """
    async with contextlib.AsyncExitStack() as stack:
        own = log_name(config, CONTROL)
        services = founded(stack, config, own)
        domain = opened(config, services)
        live = Live(services.feed, domain.trust, config.trust_domain, services.clock)
        services.feed.subscribe(live.sweep)
        domain.trust.subscribe(live.sweep)
        await stack.enter_async_context(domain.kept())
        # First to begin, last to end: gateways wait for it, and nothing else, in a hand-over.
        await stack.enter_async_context(publishing(config, services))
        parts = await stack.enter_async_context(
            assembled(
                config, services, live, os.environ, tls=upstream_tls(domain.own, domain.trust)
            )
        )
        await stack.enter_async_context(publishing_files(config, services))
        bringing = bringing_logs(config, services, parts.secrets, parts.registry)
        await stack.enter_async_context(bringing)
        say = stack.enter_context(presence(config.state / GATE_FILE, Role.CONTROL))
        urls = await listening(
            stack, parts, for_operators(parts, domain, ready, partial(together, config))
        )
        told = telling(*(config, services, parts.registry, urls["control"], parts.alerts.subscribe))
        await stack.enter_async_context(told)
        workload = await stack.enter_async_context(domain.workload_api())
        directory = audit_directory(config, own)
        evidence = Evidence(config, services, parts.registry, own)
        await stack.enter_async_context(background(evidence.run()))
        say({**(_configured(config) if gateways is None else gateways), **urls})
        yield Gate(urls, workload, directory, services, domain, parts.reload_policy, parts.registry)


def _configured(config: Config) -> dict[str, str]:
    """Where gateways of this configuration listen."""
    listen = config.listen
    found = {
        "gate": f"http://{listen.gate}",
        "tls": f"https://{listen.tls}" if listen.tls else "",
        "mtls": f"https://{listen.mtls}" if listen.mtls else "",
    }
    return {name: url for name, url in found.items() if url and not url.endswith(":0")}
