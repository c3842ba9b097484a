"""The kill feed between processes: who publishes, who follows, and over what."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from portcullis.bootstrap.background import background
from portcullis.config import Config
from portcullis.control.containment import Containment
from portcullis.control.services import Services
from portcullis.core.fanout import Hub, Line
from portcullis.core.feed import EVERYONE, Standing, Swept
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.live import Live
from portcullis.store.fanout_redis import RedisHub, RedisLine
from portcullis.store.fanout_unix import UnixHub, UnixLine
from portcullis.store.killfeed_follower import Follower
from portcullis.store.killfeed_frames import Frames
from portcullis.store.killfeed_publisher import Own, Publisher

SOCKET: Final = "feed.sock"
"""Below the state directory, while a control plane runs: where gateways follow it."""


@contextlib.asynccontextmanager
async def publishing(
    config: Config, services: Services, live: Live | None = None
) -> AsyncIterator[Publisher]:
    """Take what is cut off to every gateway until the block ends; the control plane's.

    ``live`` is what runs in this process, where it is a gateway itself. Raises Problem PC4005
    when another process publishes.
    """
    settings = config.feed
    publisher = Publisher(
        services.feed.standings,
        hub := _hub(config),
        Frames(services.feed_key),
        services.clock,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        own=None if live is None else Own(_name(services), live.swept),
    )
    await hub.open()
    async with background(publisher.run()):
        services.feed.relay(publisher)
        try:
            yield publisher
        finally:
            services.feed.relay(None)


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
    so without ``binding``: then what is said acts, and nothing depends on its being said.
    """
    settings = config.feed
    follower = Follower(
        gateway,
        services.feed,
        _line(config, gateway),
        Frames(services.feed_key),
        services.clock,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        swept=Swept if live is None else live.swept,
        binding=binding,
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


def _hub(config: Config) -> Hub:
    if config.feed.url is None:
        return UnixHub(_socket(config))
    silence = config.feed.lease_seconds
    return RedisHub(_url(config.feed.url), _prefix(config), silence=silence)


def _line(config: Config, gateway: str) -> Line:
    if config.feed.url is None:
        return UnixLine(_socket(config), gateway)
    silence = config.feed.lease_seconds
    return RedisLine(_url(config.feed.url), _prefix(config), gateway, silence=silence)


def _socket(config: Config) -> Path:
    return config.state / SOCKET


def _url(reference: str) -> str:
    return local_secrets(os.environ).resolve(reference).reveal()


def _prefix(config: Config) -> str:
    return f"portcullis:{config.trust_domain}:feed"


def _name(services: Services) -> str:
    return services.gateway.rpartition("/")[2]
