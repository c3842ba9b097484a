"""The kill feed between processes: who publishes, who follows, and over what."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import structlog
from msgspec import structs

from portcullis.bootstrap.background import background
from portcullis.config import Config
from portcullis.config.places import gateway_feed
from portcullis.control.containment import Containment
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.fanout import Hub, Line
from portcullis.core.feed import EVERYONE, Rule, Standing, Swept
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.live import Live
from portcullis.gateway.records import changed
from portcullis.store.fanout_redis import RedisHub, RedisLine
from portcullis.store.fanout_unix import UnixHub, UnixLine
from portcullis.store.killfeed_follower import Follower
from portcullis.store.killfeed_frames import Frames
from portcullis.store.killfeed_kept import WORTH_SECONDS, KeptSnapshot, booted
from portcullis.store.killfeed_publisher import Own, Publisher

log = structlog.get_logger(__name__)

SOCKET: Final = "feed.sock"
"""Below the state directory, while a control plane runs: where gateways follow it."""


@contextlib.asynccontextmanager
async def publishing(
    config: Config, services: Services, live: Live | None = None
) -> AsyncIterator[Publisher]:
    """Take what is cut off to every gateway until the block ends; the control plane's.

    ``live`` is what runs in this process, where it is a gateway itself. Raises Problem PC4005
    when another process publishes; also out of the block, which is cancelled, when another rules
    since: from then on nothing is let pass or published here.
    """
    settings, rule = config.feed, services.rule
    host, over = asyncio.current_task(), asyncio.Event()
    term = 0 if rule is None else await asyncio.to_thread(rule.begin)

    def end() -> None:
        if over.is_set():
            return
        over.set()
        log.error("another_rules", term=term)
        services.feed.relay(None)
        services.feed.lease(lambda: False)
        if host is not None:
            host.cancel()

    publisher = Publisher(
        services.feed.standings,
        hub := _hub(config),
        Frames(services.feed_key),
        services.clock,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        own=None if live is None else Own(_name(services), live.swept),
        term=term,
        outranked=end,
    )
    await hub.open()
    try:
        async with background(_published(publisher, rule, over, end)):
            services.feed.relay(publisher)
            try:
                yield publisher
            finally:
                services.feed.relay(None)
    except asyncio.CancelledError:
        if not over.is_set() or host is None or host.uncancel() > 0:
            raise
        hint = "Stop one of them; if an older database was put back, restart the gateways."
        raise Problem("PC4005", "another process rules this deployment now", hint=hint) from None


async def _published(
    publisher: Publisher, rule: Rule | None, over: asyncio.Event, end: Callable[[], None]
) -> None:
    """Publish, and hold on to the rule, until somebody else has it."""
    works = [asyncio.ensure_future(publisher.run()), asyncio.ensure_future(over.wait())]
    if rule is not None:
        works.append(asyncio.ensure_future(rule.keep()))
    try:
        await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for work in works:
            if work.done() and (fault := work.exception()) is not None:
                log.error("feed_not_published", fault=type(fault).__name__)
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
    end()


@contextlib.asynccontextmanager
async def following(
    config: Config,
    services: Services,
    gateway: str,
    live: Live | None = None,
    *,
    binding: bool = True,
) -> AsyncIterator[Follower]:
    """Act on what the control plane says until the block ends; a gateway's.

    From now on the feed is stale until there was a snapshot, and whenever the lease is over. Not
    so without ``binding``: then what is said acts, and nothing depends on its being said. One
    that starts again goes on from the snapshot that it kept, where the lease is long enough.
    """
    settings = config.feed
    frames = Frames(services.feed_key)
    follower = Follower(
        gateway,
        services.feed,
        _line(config, gateway),
        frames,
        services.clock,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        swept=Swept if live is None else live.swept,
        binding=binding,
        kept=_kept(config, services, gateway, frames) if binding else None,
        ordered=(lambda: None) if services.orders is None else services.orders.look,
    )
    async with background(follower.run()):
        yield follower


def killed(feed: Containment, reason: str, *, rules: bool) -> None:
    """Start killed: an order says so that was not taken back.

    Who rules holds it; for everybody else it is as if it had been pushed: until the control plane
    says what stands.
    """
    if rules:
        feed.sever("all", EVERYONE, reason)
    else:
        feed.push((Standing("all", EVERYONE, reason),))


def _kept(config: Config, services: Services, gateway: str, frames: Frames) -> KeptSnapshot | None:
    if config.feed.lease_seconds < WORTH_SECONDS:
        return None

    def say(code: str, why: str) -> None:
        event = changed(services.gateway, services.clock, "feed.snapshot", {"reason": why})
        services.recorder.enqueue(structs.replace(event, verdict="deny", code=code))

    return KeptSnapshot(
        gateway_feed(config, gateway),
        *(frames, services.clock),
        gateway=gateway,
        boot=booted(),
        lease_seconds=config.feed.lease_seconds,
        say=say,
    )


def _hub(config: Config) -> Hub:
    if config.feed.url is None:
        return UnixHub(_socket(config))
    return RedisHub(_url(config.feed.url), _prefix(config), silence=_silence(config))


def _line(config: Config, gateway: str) -> Line:
    if config.feed.url is None:
        return UnixLine(_socket(config), gateway)
    url, silence = _url(config.feed.url), _silence(config)
    return RedisLine(url, _prefix(config), gateway, silence=silence)


def _silence(config: Config) -> float:
    """Seconds without a word after which a connection counts as lost."""
    settings = config.feed
    return min(settings.lease_seconds, max(1.0, 4 * settings.heartbeat_seconds))


def _socket(config: Config) -> Path:
    return config.state / SOCKET


def _url(reference: str) -> str:
    return local_secrets(os.environ).resolve(reference).reveal()


def _prefix(config: Config) -> str:
    return f"portcullis:{config.trust_domain}:feed"


def _name(services: Services) -> str:
    return services.gateway.rpartition("/")[2]
