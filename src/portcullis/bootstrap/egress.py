"""The proxy for agents, put together around the line: nothing of it runs where it is off."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from urllib.parse import urlsplit

from portcullis.bootstrap.domain import Domain
from portcullis.bootstrap.parts import Parts
from portcullis.bootstrap.sharing import secret
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.execution.egress.addresses import Reachable
from portcullis.execution.egress.authority import EgressAuthority
from portcullis.execution.egress.credentials import EgressCredentials
from portcullis.execution.egress.dial import Dialer, verifying
from portcullis.gateway.egress import EgressProxy
from portcullis.gateway.egress_connect import Connects
from portcullis.gateway.egress_dns import Names
from portcullis.gateway.egress_http import Exchanges
from portcullis.gateway.egress_listener import EgressListener
from portcullis.gateway.tls import ServerTls

_PURPOSE = "egress-authority"


async def egressing(
    stack: contextlib.AsyncExitStack,
    parts: Parts,
    domain: Domain,
    urls: Mapping[str, str],
    *,
    shared: bool = False,
) -> dict[str, str]:
    """Open the listener for egress, if one is configured; its URL by its name. The stack closes it.

    ``urls`` are the other listeners': nobody reaches those through it. Raises Problem PC7001.
    """
    config, limits = parts.config, parts.config.limits
    if config.listen.egress is None:
        return {}
    own = _ports(config, urls)
    dialer = Dialer(
        Reachable(config.egress.private),
        fixed={host: tuple(map(str, found)) for host, found in config.egress.resolve.items()},
        own=lambda: own,
        tls=verifying(config.egress.authorities),
        seconds=limits.connect_seconds,
    )
    stack.callback(dialer.close)
    credentials = EgressCredentials(config.egress.credentials, parts.secrets)
    exchanges = Exchanges(parts.pipeline, credentials, limits, parts.tracer)
    authority = EgressAuthority(
        secret(config, parts.services.sealer, _PURPOSE), parts.services.clock
    )
    connects = Connects(
        *(parts.pipeline, dialer, authority, exchanges, parts.live),
        settings=config.egress,
        limits=limits,
        tracer=parts.tracer,
    )
    proxy = EgressProxy(
        access=parts.access,
        live=parts.live,
        pipeline=parts.pipeline,
        connects=connects,
        exchanges=exchanges,
        names=Names(parts.pipeline, dialer, parts.tracer),
        authority=authority,
        terminated=parts.terminated,
        settings=config.egress,
        limits=limits,
    )
    parts.metrics.watch_egress(lambda: proxy.running)

    def refused(problem: Problem, peer: str, **who: str) -> Problem:
        return parts.pipeline.refused(
            problem, EventType.ERROR, source=peer, **({"method": "http"} | who)
        )

    listener = EgressListener(
        proxy,
        config.listen.egress,
        tls=ServerTls(domain.own, domain.trust, mutual=True),
        live=parts.live,
        refused=refused,
        seconds=limits.receive_seconds,
        drain_seconds=limits.drain_seconds,
        stalled_seconds=limits.idle_seconds,
        places=config.egress.tunnels,
        shared=shared,
    )
    await listener.open()
    stack.push_async_callback(listener.close)
    own |= {_port(listener.url)}
    return {"egress": listener.url}


def _ports(config: Config, urls: Mapping[str, str]) -> set[int]:
    """The ports at which this deployment listens, as configured and as they are."""
    listen = config.listen
    addresses = (
        *(listen.gate, listen.control, listen.mtls, listen.tls, listen.bootstrap),
        *(listen.egress, listen.decisions, listen.relay),
    )
    found = {int(one.rpartition(":")[2]) for one in addresses if one is not None}
    return {*found, *map(_port, urls.values())} - {0}


def _port(url: str) -> int:
    return urlsplit(url).port or 0
