"""A question to a policy, as a call and what is around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.egress import Way
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.wire import egress

_ID = "case"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: ``target`` is ``server.name``, a model, a URL or ``host:port``."""

    action: Action
    target: str
    arguments: dict[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Around:
    """Which agent asks, and in which session, if in one."""

    agent: str
    session: bool = False
    user: str = ""
    subject: dict[str, Any] = field(default_factory=dict)
    grant: tuple[str, ...] | None = None


def call_of(asked: Asked) -> Call:
    """The call. Raises Problem PC5050 or PC1011 for a place that egress cannot go to."""
    server, name, arguments = "", asked.target, asked.arguments
    if asked.action is Action.EGRESS:
        name, arguments = _egress(asked)
    elif asked.action is not Action.MODEL:
        server, _, name = asked.target.partition(".")
    return Call(
        id=_ID,
        route=Route.MCP_HTTP,
        action=asked.action,
        server=server,
        name=name,
        method=asked.method,
        arguments=arguments,
        payload=None,
        body=b"",
        features=asked.features,
    )


def context_of(around: Around) -> Context:
    """Who asks. Its session began and ends at no particular time: policy does not look at that."""
    session = None
    if around.session:
        session = Session(
            id=_ID,
            agent=around.agent,
            application=_ID,
            user=around.user,
            prompt="",
            subject=around.subject,
            grant=around.grant,
            opened_at=0.0,
            expires_at=0.0,
        )
    principal = Principal(
        kind=PrincipalKind.AGENT,
        id=around.agent,
        credential=_ID,
        expires_at=0.0,
        session=None if session is None else session.id,
    )
    return Context(principal=principal, session=session, source=_ID, trace_id="", received_at=0.0)


def _egress(asked: Asked) -> tuple[str, dict[str, Any]]:
    """A URL is a request for it, ``host:port`` a connection."""
    scheme, url, rest = asked.target.partition("://")
    if not url:
        where = egress.authority(asked.target, egress.HTTPS)
        return str(where), egress.asked(Way.CONNECT, where)
    place, slash, path = rest.partition("/")
    where = egress.authority(place, egress.HTTPS if scheme == "https" else egress.HTTP)
    target = egress.origin(slash + path or "/").plain
    said = egress.asked(Way.REQUEST, where, scheme=scheme, method=asked.method, path=target)
    return str(where), said
