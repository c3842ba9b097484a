"""An enforcement point alone: it serves agents, under a control plane that is another process.

Order does not matter: one that starts before its control plane waits for it, and whatever it is
asked while its feed is not fresh it refuses (PC4002).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog

from portcullis.bootstrap.announcing import announced, announcing, ended
from portcullis.bootstrap.background import background
from portcullis.bootstrap.deciding import listening_envoy
from portcullis.bootstrap.domain import opened
from portcullis.bootstrap.egress import egressing
from portcullis.bootstrap.feed import following
from portcullis.bootstrap.figures import showing
from portcullis.bootstrap.foundation import CA, founded
from portcullis.bootstrap.gate import Gate
from portcullis.bootstrap.hosts_erased import erasing
from portcullis.bootstrap.hosts_followed import following_files
from portcullis.bootstrap.hosts_retired import ending_retired
from portcullis.bootstrap.leaving import doors
from portcullis.bootstrap.listening import enforcement, for_agents, listening
from portcullis.bootstrap.parts import assembled
from portcullis.bootstrap.presence import presence
from portcullis.config import Config
from portcullis.config.places import Role, audit_directory, gateway_file, gateway_name, log_name
from portcullis.execution.tls import upstream_tls
from portcullis.gateway.live import Live
from portcullis.identity.authority_files import STATE

_LOOK_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 3.0
"""So long one that starts waits for a fresh feed before it listens all the same."""
_AGAIN_LOOKS: Final = 1200
"""After so many looks, a minute, it says that it still waits."""

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def running_gateway(
    config: Config, name: str, told: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Gate]:
    """Run the gateway called ``name`` until the block ends; then drain and close.

    ``told`` is told what it waits for. Raises Problem when it cannot start: PC6003 while another
    process has this name, PC7004 for a name that no gateway can have, PC7083 for one that belongs
    to another host's log, PC7098 for one that is retired.
    """
    async with contextlib.AsyncExitStack() as stack:
        gateway_name(name)
        own = log_name(config, name)
        if config.apart:
            sealer, followed = await stack.enter_async_context(following_files(config, name, told))
            services = founded(stack, config, own, sealer)
            domain = opened(config, services, followed.doubted)
        else:
            await _founded(config, told)
            services = founded(stack, config, own)
            domain = opened(config, services)
        found = await stack.enter_async_context(announced(config, services, name, own))
        live = Live(services.feed, domain.trust, config.trust_domain, services.clock)
        services.feed.subscribe(live.sweep)
        domain.trust.subscribe(live.sweep)
        await stack.enter_async_context(domain.kept())
        parts = await stack.enter_async_context(
            assembled(
                config, services, live, os.environ, tls=upstream_tls(domain.own, domain.trust)
            )
        )
        await stack.enter_async_context(following(config, services, name, live))
        say = stack.enter_context(presence(gateway_file(config, name), Role.GATEWAY))
        await stack.enter_async_context(showing(config, name, parts.registry))
        await stack.enter_async_context(announcing(found, parts.registry, parts.digest))
        await stack.enter_async_context(background(erasing(config, services, found)))
        if config.apart:
            retired = ending_retired(config, name, services.feed, ended)
            await stack.enter_async_context(background(retired))
        agents = await enforcement(stack, parts, domain, found)
        if found is not None:
            found.say(agents.urls)  # others have to find what it begins to keep
        agents.router.report(
            lambda: not (services.feed.stale() or parts.behind()) and not services.recorder.failure
        )
        await _fresh(services.feed.stale, told)
        door = await stack.enter_async_context(doors())
        wanted = for_agents(parts, domain, agents.router)
        urls = await listening(door(), parts, wanted, shared=True)
        urls |= await listening_envoy(door(), parts, domain, shared=True)
        urls |= await egressing(door(), parts, domain, urls, shared=True)
        urls |= agents.urls
        stack.push_async_callback(agents.leave, config.limits.drain_notice_seconds)
        say(urls)
        if found is not None:
            found.say(urls)
        yield Gate(
            urls,
            None,
            audit_directory(config, own),
            services,
            domain,
            parts.reload_policy,
            parts.registry,
        )


async def _founded(config: Config, told: Callable[[str], None]) -> None:
    """Wait until a control plane has founded the trust domain; nothing is made here before."""
    place = config.state / CA / STATE
    for look in itertools.count():
        if place.exists():
            return
        if look % _AGAIN_LOOKS == 0:
            told(f"waits for the control plane: {config.state} has no authority yet")
        await asyncio.sleep(_LOOK_SECONDS)


async def _fresh(stale: Callable[[], bool], told: Callable[[str], None]) -> None:
    """Give the feed a moment, so that nobody is refused for nothing."""
    for _ in range(round(_PATIENCE_SECONDS / _LOOK_SECONDS)):
        if not stale():
            return
        await asyncio.sleep(_LOOK_SECONDS)
    told("the control plane is not there: every call is refused until it is (PC4002)")
