"""The way from one gateway to another, and where each takes what others pass on to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from portcullis.bootstrap.domain import GATEWAY, Domain
from portcullis.bootstrap.hosts_retired import retired_of
from portcullis.bootstrap.parts import Parts
from portcullis.checks.contain import Contain
from portcullis.config import Config
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.core.principal import PrincipalKind
from portcullis.core.relay_ports import Peers
from portcullis.core.spiffe import SpiffeId, ours
from portcullis.execution.tls import SpiffeTls
from portcullis.gateway.egress_listener import EgressListener
from portcullis.gateway.mcp_conversations import modern_key
from portcullis.gateway.relay import Relay
from portcullis.gateway.relay_door import Door
from portcullis.gateway.relay_ways import PROTOCOL, OtherHosts, Ways
from portcullis.gateway.router import Router
from portcullis.gateway.tls import ServerTls

SOCKETS: Final = "gateways"
"""Below the state directory: where each gateway takes what others pass on to it."""
_SILENCE_SECONDS: Final = 90.0
"""A gateway that was asked and says nothing for so long has failed; streams say more often."""


def relay_of(
    stack: contextlib.AsyncExitStack, parts: Parts, domain: Domain, peers: Peers | None
) -> Relay | None:
    """The way to the other gateways, to those of other hosts by ``peers``; the stack closes it."""
    here, config, services = parts.here, parts.config, parts.services
    if here is None:
        return None
    channels, contain = parts.mcp.channels, Contain(services.feed, services.sessions)

    def stays(server: str) -> bool:
        return server in channels.servers() and channels.spawns(server)

    def claimed(server: str, context: Context) -> str | None:
        return modern_key(server, context) if stays(server) else None

    elsewhere = None
    if peers is not None:
        tls = SpiffeTls(_gateway(config), domain.trust, domain.own, protocol=PROTOCOL)
        elsewhere = OtherHosts(peers, tls, config.limits.connect_seconds)
    ways = Ways(_sockets(config), elsewhere)
    stack.callback(ways.close)
    return Relay(
        here.name,
        ways,
        here.key,
        ids=here.ids,
        claims=here.claims,
        claimed=claimed,
        stays=stays,
        contained=contain.denied,
        clock=services.clock,
        seconds=max(_SILENCE_SECONDS, config.limits.idle_seconds),
    )


async def taking(
    stack: contextlib.AsyncExitStack,
    parts: Parts,
    domain: Domain,
    router: Router,
    busy: Callable[[], bool],
) -> tuple[Door | None, dict[str, str]]:
    """Take what other gateways pass on, until the stack ends and nothing is ``busy`` any more.

    And where those of other hosts bring it, by the listener's name.
    """
    here, config, services, limits = parts.here, parts.config, parts.services, parts.config.limits
    if here is None:
        return None, {}

    def refused(problem: Problem, peer: str, **who: str) -> Problem:
        where = {"method": "relay"} | who
        return parts.pipeline.refused(problem, EventType.ERROR, source=peer, **where)

    door = Door(
        router,
        here.name,
        _sockets(config),
        here.key,
        gateway=_gateway(config),
        refused=refused,
        live=parts.live,
        clock=services.clock,
        seconds=limits.receive_seconds,
        drain_seconds=limits.drain_seconds,
        busy=busy,
        retired=partial(retired_of, config.state),
    )
    urls = {}
    if config.listen.relay is not None:
        listener = EgressListener(
            door,
            config.listen.relay,
            tls=ServerTls(domain.own, domain.trust, mutual=True, protocol=PROTOCOL),
            live=parts.live,
            refused=refused,
            seconds=limits.receive_seconds,
            drain_seconds=limits.drain_seconds,
            stalled_seconds=limits.idle_seconds,
            places=limits.calls_in_flight,
        )
        await listener.open()
        stack.push_async_callback(listener.close)
        urls["relay"] = f"tls://{urlsplit(listener.url).netloc}"
    await stack.enter_async_context(door.open())
    return door, urls


def _gateway(config: Config) -> SpiffeId:
    return ours(config.trust_domain, PrincipalKind.GATEWAY, GATEWAY)


def _sockets(config: Config) -> Path:
    """The folder of the gateways' sockets, made when it is missing."""
    folder = config.state / SOCKETS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
