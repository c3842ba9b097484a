"""The gate's own API: sessions for applications, the token endpoint, and where clients find it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final, TypeAlias

from fastapi import APIRouter, Request, Response

from portcullis.control.callers import Asked, Callers
from portcullis.control.edge import (
    LOCAL_NAMES,
    NO_STORE,
    Api,
    Edge,
    source_of,
    token_of,
    trace_id_of,
)
from portcullis.control.exchange import TokenExchange, Usable
from portcullis.control.form import CLIENT_CREDENTIALS, GRANT, TOKEN_TYPES, TokenProblem
from portcullis.control.limits import Left
from portcullis.control.metadata import metadata
from portcullis.control.services import Services
from portcullis.control.session_shapes import (
    SessionOpened,
    SessionRequest,
    SessionView,
    TaskTool,
    TurnRequest,
)
from portcullis.control.sessions import Sessions
from portcullis.control.shapes import BODY, CREDENTIAL, ExchangedToken, TokenError, refusals
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind, Session, TaskBound
from portcullis.identity.oidc import Person
from portcullis.identity.trust import Trust
from portcullis.wire.json import encode

Limited: TypeAlias = Callable[[str], Awaitable[tuple[Left, ...]]]
"""What is counted for a session alone."""
Vouched: TypeAlias = Callable[[str], Awaitable[Person]]
"""The user whom an ID token is about. Raises Problem PC2072."""
Vouching: TypeAlias = Callable[[Session, str], Awaitable[None]]
"""Keeps the ID token that a session was opened with, where it is of use later."""

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_TEXT: Final = {"type": "string"}
_TOKEN_FORM: Final[dict[str, Any]] = {
    "security": [],  # what the form and the connection show is the credential
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": [CLIENT_CREDENTIALS, GRANT]},
                        "subject_token": _TEXT,
                        "subject_token_type": {"type": "string", "enum": sorted(TOKEN_TYPES)},
                        "actor_token": _TEXT,
                        "actor_token_type": {"type": "string", "enum": sorted(TOKEN_TYPES)},
                        "requested_token_type": {"type": "string", "enum": sorted(TOKEN_TYPES)},
                        "requested_subject": {
                            "type": "string",
                            "pattern": "^(agent|application):[a-z0-9][a-z0-9_-]{0,62}$",
                        },
                        "audience": _TEXT,
                        "scope": _TEXT,
                        "resource": _TEXT,
                        "client_id": _TEXT,
                    },
                }
            }
        },
    },
}
_TOKEN_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": TokenError, "description": "Refused (RFC 6749 section 5.2)"},
    401: {"model": TokenError, "description": "The caller did not show who it is"},
    500: {"model": TokenError, "description": "A fault of ours"},
    503: {"model": TokenError, "description": "Nothing is done unrecorded"},
    408: refusals("PC1012")[408],
    413: refusals("PC1007")[413],
}
_PROOF: Final = frozenset({f"PC{number}" for number in range(2042, 2049)})
_ERRORS: Final = {
    "PC2005": "invalid_client",
    "PC2020": "invalid_client",
    "PC2022": "invalid_client",
    "PC2040": "invalid_client",
    "PC2041": "invalid_client",
    "PC2004": "unauthorized_client",
    "PC2051": "unauthorized_client",
    "PC2050": "invalid_scope",
} | dict.fromkeys(_PROOF, "invalid_dpop_proof")
"""RFC 6749 section 5.2 and RFC 9449 section 5; all else is ``invalid_request`` (RFC 8693)."""


async def unlimited(session: str) -> tuple[Left, ...]:
    """What is counted for a session where nothing is."""
    del session
    return ()


def create_app(
    services: Services,
    *,
    trust: Trust,
    usable: Usable,
    limited: Limited = unlimited,
    names: Collection[str] = LOCAL_NAMES,
    routers: Callable[[Edge], Iterable[APIRouter]] = lambda _: (),
    vouching: Vouching | None = None,
) -> Api:
    """The ASGI application under ``/v1/`` and ``/.well-known/`` on the gate's listeners.

    ``usable`` says what a token's scope may hold, ``limited`` what is counted for a session alone.
    ``names`` are what clients know the gate by.
    ``routers`` are further routes on the same edge; ``vouching`` gets the ID tokens that sessions
    are opened with.
    """
    edge = services.edge("api", names)
    api = edge.app("Portcullis: sessions and tokens", services.version)
    principals = services.principals("api")
    sessions = Sessions(
        state=services.sessions,
        spending=services.spending,
        principals=principals,
        authority=services.authority,
        records=services.records(),
        clock=services.clock,
        tokens=services.tokens,
        pins=services.pins,
        new_id=services.new_id,
    )
    callers = Callers(
        authority=services.authority,
        principals=principals,
        feed=services.feed,
        sessions=services.sessions,
        trust=trust,
        once=services.once,
        clock=services.clock,
        tokens=services.tokens,
        trust_domain=services.trust_domain,
    )
    exchange = TokenExchange(
        callers=callers,
        authority=services.authority,
        principals=principals,
        usable=usable,
        records=services.identity_records(),
        clock=services.clock,
        tokens=services.tokens,
        trust_domain=services.trust_domain,
    )
    vouched = None if services.id_tokens is None else services.id_tokens.user
    for router in (
        _sessions(edge, sessions, vouched, limited, vouching),
        _token(edge, exchange, services),
        metadata(edge),
        *routers(edge),
    ):
        api.include_router(router)
    return api


def _sessions(
    edge: Edge,
    sessions: Sessions,
    vouched: Vouched | None,
    limited: Limited,
    vouching: Vouching | None,
) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.APPLICATION))

    @router.post(
        "/v1/sessions",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2007", "PC2072"),
        openapi_extra=_BEARER,
    )
    async def open_session(request: Request, body: SessionRequest) -> SessionOpened:
        """Open a session for one task of one agent, and get the delegation it acts under."""
        user, issuer = await _user(body, vouched)
        tools = _tools(body)
        session, minted = await sessions.open(
            request.state.context,
            agent=body.agent,
            user=user,
            prompt=body.prompt,
            subject=dict(body.subject),
            tools=None if tools is None else tuple(one.tool for one in tools),
            bounds=_bounds(tools or ()),
            ttl=body.ttl_seconds,
            issuer=issuer,
            output_schema=body.output_schema,
            budget=None if body.budget is None else body.budget.limits(),
        )
        if body.user_token is not None and vouching is not None:
            try:
                await vouching(session, body.user_token)
            except BaseException:  # a session that could do less than it was opened for
                await sessions.close(request.state.context, session.id)
                raise
        return SessionOpened(session=session.id, token=minted.token, expires_at=minted.expires_at)

    @router.get(
        "/v1/sessions/{session}",
        responses=refusals(*CREDENTIAL, "PC1021", "PC2010"),
        openapi_extra=_BEARER,
    )
    async def show_session(request: Request, session: str) -> SessionView:
        """One open session of the application's own."""
        found = await sessions.get(request.state.context, session)
        return SessionView.of(found, await sessions.left(found), await limited(found.id))

    @router.post(
        "/v1/sessions/{session}/turns",
        responses=refusals(*CREDENTIAL, *BODY, "PC2010"),
        openapi_extra=_BEARER,
    )
    async def say_in_session(request: Request, session: str, body: TurnRequest) -> SessionView:
        """Add what the user said next: from then on it is the user's own word."""
        said = await sessions.say(request.state.context, session, body.prompt)
        return SessionView.of(said, await sessions.left(said))

    @router.delete(
        "/v1/sessions/{session}",
        status_code=204,
        responses=refusals(*CREDENTIAL, "PC1021", "PC2010"),
        openapi_extra=_BEARER,
    )
    async def close_session(request: Request, session: str) -> None:
        """End a session: its tokens are refused from the next request on."""
        await sessions.close(request.state.context, session)

    return router


def _tools(body: SessionRequest) -> tuple[TaskTool, ...] | None:
    """The tools that the task declared. Problem PC1020 for one that stands there twice."""
    if body.tools is None:
        return None
    tools = tuple(TaskTool(tool=one) if isinstance(one, str) else one for one in body.tools)
    if any(one.arguments for one in tools) and len({one.tool for one in tools}) < len(tools):
        raise Problem("PC1020", "tools: a tool with bounds stands there once")
    return tools


def _bounds(tools: Iterable[TaskTool]) -> dict[str, tuple[TaskBound, ...]]:
    return {one.tool: found for one in tools if (found := one.bounds())}


async def _user(body: SessionRequest, vouched: Vouched | None) -> tuple[str, str]:
    """Whom a session is for, and who vouches for that when it is not the application."""
    if body.user_token is None:
        return body.user or "", ""
    if vouched is None:
        raise Problem("PC2072", "no issuer of ID tokens is configured for users")
    person = await vouched(body.user_token)
    return person.id, person.issuer


def _token(edge: Edge, exchange: TokenExchange, services: Services) -> APIRouter:
    router = APIRouter(route_class=edge.door())

    @router.post(
        "/v1/token",
        responses=_TOKEN_ERRORS,
        response_model=ExchangedToken,
        openapi_extra=_TOKEN_FORM,
    )
    async def exchange_token(request: Request) -> Response:
        """Get a token for an SVID, for a delegation, or for another agent (RFC 8693)."""
        asked = Asked(
            content_type=request.headers.get("content-type", ""),
            body=await request.body(),
            presented=edge.presented(request, ""),
            source=source_of(request),
            trace_id=trace_id_of(request),
            origin=edge.origin(request),
        )
        try:
            asked.authorization = token_of(request)
        except Problem as problem:
            return _refused(exchange.refused(asked, problem))
        try:
            issued = await exchange.serve(asked)
        except Problem as problem:
            return _refused(problem)
        answer = {
            "access_token": issued.minted.token,
            "issued_token_type": issued.issued_token_type,
            "token_type": issued.token_type,
            "expires_in": int(issued.minted.expires_at - services.clock.now()),
        }
        if issued.scope is not None:
            answer["scope"] = " ".join(issued.scope)
        return Response(encode(answer), media_type="application/json")

    return router


def _refused(problem: Problem) -> Response:
    """RFC 6749 section 5.2: 400, or 401 for invalid_client; faults keep their status."""
    status = problem.status if problem.status >= 500 else 400  # noqa: PLR2004 - server errors
    if status != 400:  # noqa: PLR2004 - the same
        error = "temporarily_unavailable" if status == 503 else "server_error"  # noqa: PLR2004
    elif isinstance(problem, TokenProblem):
        error = problem.error
    else:
        error = _ERRORS.get(problem.code, "invalid_request")
    headers = dict(NO_STORE)
    if error == "invalid_client":
        status = 401
        headers["www-authenticate"] = "Bearer"
    body = {
        "error": error,
        "error_description": problem.detail,
        "code": problem.code,
        "hint": problem.hint,
    }
    return Response(
        encode(body), status_code=status, media_type="application/json", headers=headers
    )
