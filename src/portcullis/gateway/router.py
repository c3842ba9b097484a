"""The gate's front door: authenticate, find the route, answer every problem in its shape.

No route is reached without a principal, but for two words about health. Each request is either
served by a hot route, handed to the API for applications and tokens (which authenticates by
itself), or refused and recorded.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from typing import Final, Protocol

import structlog

from portcullis.config import NAME, Limits
from portcullis.core.call import Context, Route
from portcullis.core.errors import Problem
from portcullis.gateway.access import Access, presented
from portcullis.gateway.http import App, ClientDisconnect, Receive, Request, Scope, Send, send_json
from portcullis.gateway.live import Live, ended
from portcullis.gateway.llm import ModelRoutes, answer
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.tracing import Tracer
from portcullis.wire import ratelimit
from portcullis.wire.challenge import challenge
from portcullis.wire.json import encode
from portcullis.wire.jsonrpc import error_message
from portcullis.wire.target import origin

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_UNAVAILABLE: Final = 503
_LIVES: Final = "/healthz"
_HEALTH: Final = frozenset({_LIVES, "/readyz"})
"""Where a gateway without a control plane of its own says how it is, on its own listeners."""
_PATH: Final = re.compile(rf"/mcp/{NAME.strip('^$')}")

log = structlog.get_logger(__name__)

_API: Final = frozenset({"v1", ".well-known", "access", "bundles"})
_CALLS: Final = "v1/calls"
"""The guard API, the one route below ``/v1`` that is hot."""
_APIS: Final = frozenset({"openai", "anthropic"})
_ROUTES: Final = {
    "openai": Route.LLM_JSON.value,
    "anthropic": Route.LLM_JSON.value,
    "mcp": Route.MCP_HTTP.value,
    _CALLS: Route.GUARD.value,
}
"""The route that a refusal is recorded under, before the body has said more."""


class McpRoutes(Protocol):
    """The MCP handler (``gateway.mcp_http``)."""

    async def __call__(self, request: Request, context: Context, server: str) -> None:
        """Serve one request for an MCP server."""


class GuardRoutes(Protocol):
    """The guard API's handler (``gateway.guard``)."""

    async def __call__(self, request: Request, context: Context, rest: str) -> None:
        """Serve one request; ``rest`` is what follows ``/v1/calls`` in its path."""


class Elsewhere(Protocol):
    """The way to what other gateways keep (``gateway.relay``)."""

    def concerns(self, request: Request, first: str, rest: str) -> bool:
        """Whether another gateway may keep what a request is for."""

    async def passed_on(self, request: Request, context: Context, first: str, rest: str) -> bool:
        """Pass a request on to the gateway that keeps what it is for; False when that is here."""


class Router:
    """The ASGI application of the gate's listeners. One that is ``draining`` says so, and serves.

    ``names`` are the DNS names and addresses that clients know the gate by; ``elsewhere`` is the
    way to other gateways, where there are any; ``tracer`` draws the requests that are traced.
    """

    def __init__(
        self,
        *,
        access: Access,
        live: Live,
        pipeline: Pipeline,
        models: ModelRoutes,
        mcp: McpRoutes,
        guard: GuardRoutes,
        api: App,
        limits: Limits,
        metrics: Metrics,
        names: Collection[str],
        elsewhere: Elsewhere | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._elsewhere = elsewhere
        self._tracer = tracer
        self._access = access
        self._live = live
        self._pipeline = pipeline
        self._models = models
        self._mcp = mcp
        self._guard = guard
        self._api = api
        self._limits = limits
        self._in_flight = 0
        self._running: dict[str, int] = {}
        metrics.watch_in_flight(lambda: self._in_flight)
        self.draining = False
        self._health: Callable[[], bool] | None = None

    def report(self, ready: Callable[[], bool]) -> None:
        """Answer ``/healthz`` and ``/readyz`` from now on: two words, for whoever asks."""
        self._health = ready

    def drain(self) -> None:
        """Say at ``/readyz`` that this gate will end; what still comes is served."""
        self.draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] != "http":
            return
        if self._health is not None and scope["path"] in _HEALTH:
            await self._report(scope, send)
            return
        first, rest = _parted(scope["path"])
        request = Request(scope, receive, send)
        context: Context | None = None
        if self._tracer is not None and first not in _API:
            request.trace = self._tracer.begin(request, first)
        self._in_flight += 1
        try:
            self._check(request)
            if first in _API:
                await self._api(scope, receive, request.send)
                return
            way = self._way(request, first, rest)
            context = await self._admitted(request, spend=way is None)
            with self._live.running(context, request.connection):
                self._share(context.principal.id)
                try:
                    await self._reach(request, context, first, rest, way)
                finally:
                    self._leave(context.principal.id)
        except Problem as problem:
            await self._refuse(request, context, first, rest, problem)
        except asyncio.CancelledError as error:
            cut = ended(error)
            if cut is None:
                raise
            await self._refuse(request, context, first, rest, cut)
        except ClientDisconnect:
            log.info("client_left", kind=first)
        except Exception:
            log.exception("request_failed", kind=first)
            fault = Problem("PC9002", "the request could not be handled")
            await self._refuse(request, context, first, rest, fault)
        finally:
            self._in_flight -= 1
            self._traced(request)

    def _traced(self, request: Request) -> None:
        if self._tracer is not None and request.trace is not None:
            self._tracer.end(request.trace, request.status)

    async def _report(self, scope: Scope, send: Send) -> None:
        ready = scope["path"] == _LIVES or (
            self._health is not None and self._health() and not self.draining
        )
        body = b'{"status":"ready"}' if ready else b'{"status":"not ready"}'
        if scope["path"] == _LIVES:
            body = b'{"status":"ok"}'
        await send_json(send, _OK if ready else _UNAVAILABLE, body)

    def _check(self, request: Request) -> None:
        """Whether the request may be looked at, whoever sent it."""
        request.check()
        if request.connection is not None:
            self._live.check(request.connection)
        if self._in_flight > self._limits.calls_in_flight:
            raise Problem("PC5006", f"more than {self._limits.calls_in_flight} calls at once")

    def _way(self, request: Request, first: str, rest: str) -> Elsewhere | None:
        """The way to the gateway that may keep what a request is for."""
        way = self._elsewhere
        return way if way is not None and way.concerns(request, first, rest) else None

    async def _admitted(self, request: Request, *, spend: bool = True) -> Context:
        return await self._access.admit(
            presented(request, self._names),
            source=request.source,
            trace_id=request.trace_id,
            spend=spend,
            trace=request.trace,
        )

    def _share(self, agent: str) -> None:
        """Take one of the agent's places of what may run at once. Raises Problem PC5025."""
        running = self._running.get(agent, 0)
        if running >= self._limits.calls_per_agent:
            raise Problem("PC5025", f"more than {self._limits.calls_per_agent} calls of one agent")
        self._running[agent] = running + 1

    def _leave(self, agent: str) -> None:
        self._running[agent] -= 1
        if not self._running[agent]:
            del self._running[agent]

    async def _reach(
        self, request: Request, context: Context, first: str, rest: str, way: Elsewhere | None
    ) -> None:
        """Serve a request here, unless what it is for is kept elsewhere."""
        if way is not None:
            if await way.passed_on(request, context, first, rest):
                return
            context = await self._admitted(request)
        await self._serve(request, context, first, rest)

    async def _serve(self, request: Request, context: Context, first: str, rest: str) -> None:
        """Serve an authenticated request."""
        if first in _APIS:
            await self._models(request, context, first, "/" + rest)
        elif first == "mcp" and rest and "/" not in rest:
            await self._mcp(request, context, rest)
        elif first == _CALLS:
            await self._guard(request, context, rest)
        else:
            raise Problem("PC1010", "the gate has no such route")

    async def _refuse(
        self, request: Request, context: Context | None, first: str, rest: str, problem: Problem
    ) -> None:
        """Record a refusal and answer in the route's own error shape.

        When another answer has begun, the connection is closed instead.
        """
        if request.trace is not None:
            request.trace.root.code = problem.code
        principal = context.principal if context else None
        shown = request.connection.principal if request.connection else None
        who = principal or shown
        problem = self._pipeline.refused(
            problem,
            route=_ROUTES.get(first, ""),
            principal_kind=who.kind if who else "",
            principal=who.id if who else "",
            credential=principal.credential if principal else problem.credential,
            session=(principal.session or "") if principal else "",
            source=request.source,
            method=f"{request.method} /{first}" if first in _ROUTES else request.method,
            server=rest if first == "mcp" and re.fullmatch(NAME, rest) else "",
            trace_id=request.trace_id,
        )
        if request.started:
            if request.connection is not None:
                request.connection.abort()
            return
        headers = self._challenge(request, problem, "" if first != "mcp" else request.path)
        if first in _APIS:
            await answer(request, first, problem, headers)
            return
        headers = (*headers, *ratelimit.refused(problem))
        kind, body = b"application/json", encode(error_message(None, problem))
        if first != "mcp":
            kind, body = b"application/problem+json", encode(problem.document())
        await send_json(request.send, problem.status, body, headers, kind=kind)

    def _challenge(
        self, request: Request, problem: Problem, path: str
    ) -> tuple[tuple[bytes, bytes], ...]:
        """What a client without a good credential is told about getting one (RFC 9110, 11.6.1)."""
        if problem.status != _UNAUTHORIZED:
            return ()
        host = request.headers.get(b"host", b"").decode("latin-1")
        where = origin(request.scope, host, self._names)
        path = path if _PATH.fullmatch(path) else ""
        return ((b"www-authenticate", challenge(problem.code, where, path).encode("ascii")),)


def _parted(path: str) -> tuple[str, str]:
    """Which face of the gate a path is for, and the rest of it."""
    below = path.removeprefix(f"/{_CALLS}")
    if below != path and below[:1] in {"", "/"}:
        return _CALLS, below
    first, _, rest = path[1:].partition("/")
    return first, rest
