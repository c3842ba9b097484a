"""Those who ask for decisions, and how: over AuthZEN, and as Envoy does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from fastapi import APIRouter

from portcullis.bootstrap.domain import Domain
from portcullis.bootstrap.parts import Parts
from portcullis.control import authzen_api
from portcullis.control.edge import Edge
from portcullis.core.call import Call, Route
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.gateway.decisions import Asker, Decided, Decisions
from portcullis.gateway.egress_listener import EgressListener
from portcullis.gateway.ext_authz import Authorizer, Door
from portcullis.gateway.tls import ServerTls

_PLACES: Final = 64
"""Connections of one sidecar: each carries many questions at once."""


class AuthzenDecides:
    """Implements ``control.authzen_api.Decides``."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def deadline(self) -> float:
        """See Decides."""
        return self._decisions.deadline()

    async def decide(
        self, call: Call, agent: str, session: str, asker: authzen_api.Asker, until: float
    ) -> Decided:
        """See Decides."""
        return await self._decisions.decide(call, agent, session, _asker(asker), until)

    def refused(self, problem: Problem, agent: str, asker: authzen_api.Asker) -> Decided:
        """See Decides."""
        return self._decisions.refused(problem, Route.AUTHZEN, agent, _asker(asker))


def _asker(asker: authzen_api.Asker) -> Asker:
    context = asker.context
    return Asker(
        principal=context.principal,
        source=context.source,
        trace_id=context.trace_id,
        traceparent=asker.traceparent,
    )


def authzen(parts: Parts, edge: Edge) -> Iterable[APIRouter]:
    """The routes over which applications ask, where any may."""
    askers, services = parts.config.decisions.askers, parts.services
    if not askers:
        return ()
    stands_for, new_id = services.authority.stands_for, services.new_id
    decides = AuthzenDecides(parts.decisions)
    return (
        authzen_api.router(edge, decides, askers, stands_for, new_id),
        authzen_api.metadata(edge),
    )


async def listening_envoy(
    stack: contextlib.AsyncExitStack, parts: Parts, domain: Domain, *, shared: bool = False
) -> dict[str, str]:
    """Open the listener for Envoy, if one is configured; its URL by its name. The stack closes it.

    Raises Problem PC7001 when its socket cannot be opened.
    """
    config, limits = parts.config, parts.config.limits
    if config.listen.decisions is None:
        return {}
    decisions = config.decisions

    def refused(problem: Problem, peer: str, **who: str) -> Problem:
        where = {"method": "tls", "route": Route.EXT_AUTHZ.value} | who
        return parts.pipeline.refused(problem, EventType.ERROR, source=peer, **where)

    authorizer = Authorizer(parts.decisions, parts.services.authority.stands_for, decisions.header)
    door = Door(
        authorizer,
        parts.live,
        decisions.peers,
        lambda problem, source, name: refused(problem, source, principal=name),
    )
    await stack.enter_async_context(door.serving())
    listener = EgressListener(
        door,
        config.listen.decisions,
        tls=ServerTls(domain.own, domain.trust, mutual=True, protocol="h2"),
        live=parts.live,
        refused=refused,
        seconds=limits.receive_seconds,
        drain_seconds=limits.drain_seconds,
        stalled_seconds=limits.idle_seconds,
        places=_PLACES,
        shared=shared,
    )
    await listener.open()
    stack.push_async_callback(listener.close)
    return {"decisions": listener.url}
