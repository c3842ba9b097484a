"""The edge of the APIs: who asks, what a body may be, and what a refusal looks like.

Every route belongs to a *door* that names who may pass. Before FastAPI sees a request, its door
has authenticated the caller, consulted the kill feed, and read the body strictly. Every refusal
leaves a record and answers with an RFC 9457 problem document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, APIRouter

from portcullis.control.fields import FIELDS
from portcullis.control.records import Caller, Records
from portcullis.control.shapes import PROBLEM_JSON
from portcullis.core.call import Context
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.ports import Authenticator, Clock, KillFeed
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.rights import Right, Roles
from portcullis.core.trace import new_trace, trace_of
from portcullis.wire.challenge import challenge
from portcullis.wire.json import decode, encode
from portcullis.wire.target import origin, target

log = structlog.get_logger(__name__)

NO_STORE: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")

_SCHEMES: Final = frozenset({"bearer", "dpop"})
_ONCE: Final = (
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "dpop",
    "host",
    "transfer-encoding",
)
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_TELEMETRY_OFF: Final = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Decoded(Request):
    """A request whose body has been read and decoded by us; FastAPI decodes nothing itself."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        super().__init__(request.scope)
        self._bytes = body
        self._value = value

    async def body(self) -> bytes:
        """The whole body."""
        return self._bytes

    async def json(self) -> Any:
        """The decoded body."""
        return self._value


class Api(FastAPI):
    """FastAPI without its pages, redirects, telemetry and 422 documents."""

    def __init__(self, title: str, version: str) -> None:
        super().__init__(
            title=title,
            version=version,
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            telemetry=_TELEMETRY_OFF,  # type: ignore[arg-type] # a TypedDict, made elsewhere
        )

    def include_router(self, router: APIRouter, **options: Any) -> None:
        """Take a router's routes as they are; what would change them makes each a second time."""
        if options or router.prefix:
            super().include_router(router, **options)
        else:
            self.router.routes.extend(router.routes)

    def warm(self) -> None:
        """Make now what the first request would: it may be one that must not wait for it."""
        scope = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []}
        for route in self.router.routes:
            route.matches(scope)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description; invalid parameters are 400 here, never 422."""
        if self.openapi_schema is None:
            described = super().openapi()
            for path in described["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            components = described["components"]
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            }
        return super().openapi()


class Edge:
    """Shared by both APIs; ``route`` names the API in the records (``api`` or ``control``).

    ``names`` are the names and addresses that clients know this host by, ``roles`` what operators
    may.
    """

    def __init__(
        self,
        *,
        route: str,
        authenticator: Authenticator,
        feed: KillFeed,
        records: Records,
        clock: Clock,
        body_bytes: int,
        receive_seconds: float,
        names: Collection[str] = LOCAL_NAMES,
        roles: Roles,
    ) -> None:
        self.route = route
        self.roles = roles
        self._names = frozenset(name.lower() for name in names)
        self._authenticator = authenticator
        self._feed = feed
        self._records = records
        self._clock = clock
        self._body_bytes = body_bytes
        self._receive_seconds = receive_seconds

    def app(self, title: str, version: str) -> Api:
        """An empty API whose refusals outside its routes are ours too."""
        api = Api(title, version)

        async def unrouted(request: Request, error: Exception) -> Response:
            try:
                self.admit(request)  # whoever has no credential learns nothing about routes
            except Problem as problem:
                return self.refuse(request, problem)
            allowed = getattr(error, "headers", None)
            if allowed:
                return self.refuse(request, Problem("PC1009", "see Allow"), allowed)
            return self.refuse(request, Problem("PC1010", "the API has no such route"))

        api.add_exception_handler(404, unrouted)
        api.add_exception_handler(405, unrouted)
        return api

    def door(self, kind: PrincipalKind | None = None, *rights: Right) -> type[APIRoute]:
        """The class of routes that principals of ``kind`` may use; None: the route sees to it.

        An operator needs one of ``rights``; where they are several, the route says which for what
        (``need``). Both stand in the API's description, as ``x-principal`` and ``x-right``.
        """
        edge = self

        class Door(APIRoute):
            def __init__(self, *args: Any, **options: Any) -> None:
                asked = {"x-right": [*map(str, rights)]} if rights else {}
                said = {"x-principal": str(kind), **asked} if kind else {}
                described = {**(options.pop("openapi_extra", None) or {}), **said}
                super().__init__(*args, **options, openapi_extra=described)

            def get_route_handler(self) -> _Handler:
                handler = super().get_route_handler()
                json = self.body_field is not None
                query = frozenset(field.alias for field in self.dependant.query_params)

                async def guarded(request: Request) -> Response:
                    return await edge.pass_door(
                        request, handler, kind=kind, rights=rights, json=json, query=query
                    )

                return guarded

        return Door

    async def pass_door(
        self,
        request: Request,
        handler: Callable[[Request], Awaitable[Response]],
        *,
        kind: PrincipalKind | None,
        rights: tuple[Right, ...],
        json: bool,
        query: frozenset[str],
    ) -> Response:
        """Authenticate, read, handle; turn whatever goes wrong into a recorded refusal."""
        try:
            single_headers(request)
            if kind is not None:
                context = self.admit(request)
                self._allow(context.principal, kind, rights)
            known_query(request, query)
            body = await self.read(request) if request.method in _WITH_BODY else b""
            value = _decode(request, body) if json else None
            response = await handler(Decoded(request, body, value))
        except Problem as problem:
            return self.refuse(request, problem)
        except RequestValidationError as error:
            return self.refuse(request, _misshapen(error))
        except Exception:
            log.exception("api_request_failed", route=self.route)
            return self.refuse(request, Problem("PC9002", "the request could not be handled"))
        response.headers.update(NO_STORE)
        return response

    def admit(self, request: Request) -> Context:
        """Who asks: a live, uncut principal. Also left in ``request.state.context``.

        Raises Problem PC4001, PC4002 and those of the authenticator.
        """
        presented = self.presented(request, token_of(request))
        return self.admit_as(request, self._authenticator.authenticate(presented))

    def need(self, context: Context, right: Right) -> None:
        """Raise Problem PC2004 unless the operator who asks has the right."""
        self.roles.expect(context.principal.roles, right)

    def _allow(self, principal: Principal, kind: PrincipalKind, rights: tuple[Right, ...]) -> None:
        if principal.kind is not kind:
            raise Problem("PC2004", f"this route is for principals of the kind {kind}")
        if kind is PrincipalKind.OPERATOR:
            self.roles.expect(principal.roles, *rights)

    def presented(self, request: Request, token: str) -> Presented:
        """What a request shows, with the token that came with it."""
        return Presented(
            token=token,
            peer=request.scope.get("portcullis.peer"),
            dpop=request.headers.get("dpop", ""),
            method=request.method,
            url=target(request.scope, request.headers.get("host", ""), self._names),
        )

    def origin(self, request: Request) -> str:
        """Scheme and authority of the listener that a request came to."""
        return origin(request.scope, request.headers.get("host", ""), self._names)

    def admit_as(self, request: Request, principal: Principal) -> Context:
        """Go on as ``principal`` unless it is cut off. Raises Problem PC4001, PC4002."""
        request.state.context = context = Context(
            principal=principal,
            session=None,
            source=source_of(request),
            trace_id=trace_id_of(request),
            received_at=self._clock.now(),
        )
        if self._feed.stale():
            raise Problem("PC4002", "the containment feed is stale")
        reason = self._feed.reason(principal, None)
        if reason is not None:
            raise Problem("PC4001", reason)
        return context

    def record(self, request: Request, problem: Problem) -> Problem:
        """Record a refusal; returns the problem to answer with."""
        context: Context | None = getattr(request.state, "context", None)
        route = request.scope.get("route")
        caller = Caller(
            route=self.route,
            source=source_of(request),
            trace_id=context.trace_id if context else trace_id_of(request),
            principal=context.principal if context else None,
        )
        path = getattr(route, "path", "?")  # the template: a path of the caller's may hold content
        return self._records.refused(problem, caller, f"{request.method} {path}")

    def refuse(
        self, request: Request, problem: Problem, headers: dict[str, str] | None = None
    ) -> Response:
        """Record a refusal and answer it."""
        return self.answer(request, self.record(request, problem), headers)

    def answer(
        self, request: Request, answered: Problem, headers: dict[str, str] | None = None
    ) -> Response:
        """Answer a refusal that is recorded."""
        extra = {} if headers is None else dict(headers)
        if answered.status == 401:  # noqa: PLR2004 - RFC 6750 section 3
            where = self.origin(request) if self.route == "api" else ""
            extra["www-authenticate"] = challenge(answered.code, where)
        return Response(
            encode(answered.document()),
            status_code=answered.status,
            media_type=PROBLEM_JSON,
            headers=NO_STORE | extra,
        )

    async def read(self, request: Request) -> bytes:
        """The whole body. Raises Problem PC1007 (too large), PC1012 (too slow, or cut off)."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._receive_seconds):
                more = True
                while more:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise Problem("PC1012", "the caller went away before the end of the body")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._body_bytes:
                        detail = f"the body is larger than {self._body_bytes} bytes"
                        raise Problem("PC1007", detail, hint="This API takes no larger ones.")
                    more = message.get("more_body", False)
        except TimeoutError:
            detail = f"the body took longer than {self._receive_seconds:g} s"
            raise Problem("PC1012", detail) from None
        return b"".join(parts)


def _decode(request: Request, body: bytes) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem("PC1008", "the body must be application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("PC1013", "the body is compressed")
    if not body:
        raise Problem("PC1001", "the body is empty")
    return decode(body)


def single_headers(request: Request) -> None:
    """Raise Problem PC1011 when a header that says what a request is occurs twice."""
    for name in _ONCE:
        if len(request.headers.getlist(name)) > 1:
            raise Problem("PC1011", f"the header {name} occurs twice")


def known_query(request: Request, known: frozenset[str] | None) -> None:
    """Raise Problem PC1021 for a parameter that is not ``known``, PC1020 for one given twice.

    ``None`` is for a query that is not of our making, of which only some is read.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    if known is not None and not known.issuperset(names):
        raise Problem("PC1021", "the query has an unknown parameter")
    if len(set(names)) != len(names):
        raise Problem("PC1020", "the query names a parameter twice")


def token_of(request: Request) -> str:
    """The token of the one Authorization header (RFC 6750 section 2.1, RFC 9449 section 7.1).

    Empty without one. Raises Problem PC2005 with two, PC2002 for another scheme.
    """
    found = request.headers.getlist("authorization")
    if not found:
        return ""
    if len(found) > 1:
        raise Problem("PC2005", "the header Authorization occurs twice")
    scheme, _, token = found[0].partition(" ")
    if scheme.lower() not in _SCHEMES or not token:
        raise Problem("PC2002", "the Authorization scheme must be Bearer or DPoP")
    return token


def _misshapen(error: RequestValidationError) -> Problem:
    """The first fault, by the names of our fields and its rule: nothing the caller wrote."""
    first = error.errors()[0]
    place = ".".join(step for step in first["loc"] if step in FIELDS)
    code = "PC1021" if first["type"] == "extra_forbidden" else "PC1020"
    return Problem(code, f"{place}: {first['type']}")


def source_of(request: Request) -> str:
    """The caller's address, for the record."""
    return f"{request.client.host}:{request.client.port}" if request.client else "unix"


def trace_id_of(request: Request) -> str:
    """The caller's trace, or a new one."""
    return trace_of(request.headers.get("traceparent", "")) or new_trace()
