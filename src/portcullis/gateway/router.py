"""The gate's front door: authenticate, find the route, answer every problem in its shape.

No route is reached without a principal. Each request is either served by a hot route, handed to
the API for applications and tokens (which authenticates by itself), or refused and recorded.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

import structlog

from portcullis.config import NAME, Limits
from portcullis.core.call import Context, Route
from portcullis.core.errors import Problem
from portcullis.gateway.access import Access, credential_of
from portcullis.gateway.http import App, ClientDisconnect, Receive, Request, Scope, Send, send_json
from portcullis.gateway.llm import ModelRoutes, answer
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.wire.json import encode
from portcullis.wire.jsonrpc import error_message

log = structlog.get_logger(__name__)

_APIS: Final = frozenset({"openai", "anthropic"})
_ROUTES: Final = {
    "openai": Route.LLM_JSON.value,
    "anthropic": Route.LLM_JSON.value,
    "mcp": Route.MCP_HTTP.value,
}
"""The route that a refusal is recorded under, before the body has said more."""


class McpRoutes(Protocol):
    """The MCP handler (``gateway.mcp_http``)."""

    async def __call__(self, request: Request, context: Context, server: str) -> None:
        """Serve one request for an MCP server."""


class Router:
    """The ASGI application of the gate's listener. ``draining`` refuses new calls."""

    def __init__(
        self,
        *,
        access: Access,
        pipeline: Pipeline,
        models: ModelRoutes,
        mcp: McpRoutes,
        api: App,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._access = access
        self._pipeline = pipeline
        self._models = models
        self._mcp = mcp
        self._api = api
        self._limits = limits
        self._in_flight = 0
        self._running: dict[str, int] = {}
        metrics.watch_in_flight(lambda: self._in_flight)
        self.draining = False

    def drain(self) -> None:
        """Refuse what comes from now on; what runs may finish."""
        self.draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] != "http":
            return
        first, _, rest = scope["path"][1:].partition("/")
        request = Request(scope, receive, send)
        context: Context | None = None
        self._in_flight += 1
        try:
            request.check()
            if self.draining:
                raise Problem("PC5013", "the gate is shutting down")
            if self._in_flight > self._limits.calls_in_flight:
                raise Problem("PC5006", f"more than {self._limits.calls_in_flight} calls at once")
            if first == "v1":
                await self._api(scope, receive, send)
                return
            context = await self._access.admit(
                credential_of(request.headers), source=request.source, trace_id=request.trace_id
            )
            await self._serve(request, context, first, rest)
        except Problem as problem:
            await self._refuse(request, context, first, rest, problem)
        except ClientDisconnect:
            log.info("client_left", kind=first)
        except Exception:
            log.exception("request_failed", kind=first)
            fault = Problem("PC9002", "the request could not be handled")
            await self._refuse(request, context, first, rest, fault)
        finally:
            self._in_flight -= 1

    async def _serve(self, request: Request, context: Context, first: str, rest: str) -> None:
        """Serve an authenticated request, within the agent's share of what may run at once."""
        agent = context.principal.id
        running = self._running.get(agent, 0)
        if running >= self._limits.calls_per_agent:
            raise Problem("PC5006", f"more than {self._limits.calls_per_agent} calls of one agent")
        self._running[agent] = running + 1
        try:
            if first in _APIS:
                await self._models(request, context, first, "/" + rest)
            elif first == "mcp" and rest and "/" not in rest:
                await self._mcp(request, context, rest)
            else:
                raise Problem("PC1010", "the gate has no such route")
        finally:
            self._running[agent] -= 1
            if not self._running[agent]:
                del self._running[agent]

    async def _refuse(
        self, request: Request, context: Context | None, first: str, rest: str, problem: Problem
    ) -> None:
        """Record a refusal and answer in the route's own error shape."""
        principal = context.principal if context else None
        problem = self._pipeline.refused(
            problem,
            route=_ROUTES.get(first, ""),
            principal_kind=principal.kind if principal else "",
            principal=principal.id if principal else "",
            credential=principal.credential if principal else "",
            session=(principal.session or "") if principal else "",
            source=request.source,
            method=f"{request.method} /{first}" if first in _ROUTES else request.method,
            server=rest if first == "mcp" and re.fullmatch(NAME, rest) else "",
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
