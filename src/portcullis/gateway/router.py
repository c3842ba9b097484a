"""The gate's front door: authenticate, find the route, answer every problem in its shape.

No route is reached without a principal. Each request is either served by a hot route, handed to
the API for applications and tokens (which authenticates by itself), or refused and recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from portcullis.config import Limits
from portcullis.core.call import Context, Route
from portcullis.core.errors import Problem
from portcullis.core.ports import Authenticator, Clock, SessionState
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.gateway.http import App, ClientDisconnect, Receive, Request, Scope, Send, send_json
from portcullis.gateway.llm import ModelRoutes, answer
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.wire.json import encode
from portcullis.wire.jsonrpc import error_message

log = structlog.get_logger(__name__)

_APIS: Final = frozenset({"openai", "anthropic"})
_MAX_CREDENTIAL: Final = 8192


class McpRoutes(Protocol):
    """The MCP handler (``gateway.mcp_http``)."""

    async def __call__(self, request: Request, context: Context, server: str) -> None: ...


class Router:
    """The ASGI application of the gate's listener."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        sessions: SessionState,
        pipeline: Pipeline,
        models: ModelRoutes,
        mcp: McpRoutes,
        api: App,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._pipeline = pipeline
        self._models = models
        self._mcp = mcp
        self._api = api
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._in_flight = 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] != "http":
            return
        first, _, rest = scope["path"][1:].partition("/")
        if first == "v1":
            await self._api(scope, receive, send)
            return
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        request = Request(scope, receive, send)
        principal: Principal | None = None
        try:
            request.check()
            if self.draining:
                raise Problem("PC5013", "the gate is shutting down")
            if self._in_flight > self._limits.calls_in_flight:
                raise Problem("PC5006", f"more than {self._limits.calls_in_flight} calls at once")
            principal = self._authenticator.authenticate(_credential(request.headers))
            session = await self._session(principal)
            context = Context(
                principal=principal,
                session=session,
                source=request.source,
                trace_id=request.trace_id,
                received_at=self._clock.now(),
            )
            if first in _APIS:
                await self._models(request, context, first, "/" + rest)
            elif first == "mcp" and rest and "/" not in rest:
                await self._mcp(request, context, rest)
            else:
                raise Problem("PC1010", "the gate has no such route")
        except Problem as problem:
            await self._refuse(request, principal, first, rest, problem)
        except ClientDisconnect:
            log.info("client_left", path_kind=first)
        except Exception:
            log.exception("request_failed", path_kind=first)
            fault = Problem("PC9002", "the request could not be handled")
            await self._refuse(request, principal, first, rest, fault)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)

    async def _session(self, principal: Principal) -> Session | None:
        if principal.kind is not PrincipalKind.AGENT:
            raise Problem("PC2004", "this route is for agents")
        if principal.session is None:
            return None
        session = await self._sessions.get(principal.session)
        if session is None or session.agent != principal.id:
            raise Problem("PC2006", "the session of this token is not open")
        return session

    async def _refuse(
        self, request: Request, principal: Principal | None, first: str, rest: str, problem: Problem
    ) -> None:
        """Record a refusal and answer in the route's own error shape."""
        problem = self._pipeline.refused(
            problem,
            route={
                "openai": Route.LLM_JSON,
                "anthropic": Route.LLM_JSON,
                "mcp": Route.MCP_HTTP,
            }.get(first, ""),
            principal_kind=principal.kind if principal else "",
            principal=principal.id if principal else "",
            credential=principal.credential if principal else "",
            session=(principal.session or "") if principal else "",
            source=request.source,
            method=f"{request.method} /{first}",
            server=rest if first == "mcp" else "",
            trace_id=request.trace_id,
        )
        if first in _APIS:
            await answer(request, first, problem)
        elif first == "mcp":
            await send_json(request.send, problem.status, encode(error_message(None, problem)))
        else:
            await send_json(
                request.send,
                problem.status,
                encode(problem.document()),
                kind=b"application/problem+json",
            )


def _credential(headers: Mapping[bytes, bytes]) -> str:
    """The one credential of a request: a Bearer token, or the same in ``x-api-key``.

    Raises Problem PC2001 without one, PC2005 with two that differ, PC2002 for another scheme.
    """
    bearer = headers.get(b"authorization")
    key = headers.get(b"x-api-key")
    token: bytes | None = None
    if bearer is not None:
        scheme, _, token = bearer.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise Problem("PC2002", "the Authorization scheme must be Bearer")
    if key is not None:
        if token is not None and token != key:
            raise Problem("PC2005", "Authorization and x-api-key differ")
        token = key
    if not token:
        raise Problem("PC2001", "the request carries no credential")
    if len(token) > _MAX_CREDENTIAL or not token.isascii():
        raise Problem("PC2002", "the credential is malformed")
    return token.decode("ascii")
