"""The gate's own API: sessions for applications, and the token endpoint for everyone."""

from __future__ import annotations

from typing import Any, Final

import structlog
from fastapi import APIRouter, Request, Response

from portcullis.control.edge import NO_STORE, Api, Edge
from portcullis.control.exchange import (
    ACCESS_TOKEN,
    GRANT,
    TOKEN_TYPES,
    TokenExchange,
    TokenProblem,
    parse,
)
from portcullis.control.services import Services
from portcullis.control.sessions import Sessions
from portcullis.control.shapes import (
    BODY,
    CREDENTIAL,
    ExchangedToken,
    SessionOpened,
    SessionRequest,
    SessionView,
    TokenError,
    refusals,
)
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.wire.json import encode

log = structlog.get_logger(__name__)

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_TOKEN_FORM: Final[dict[str, Any]] = {
    "security": [],  # the subject_token is the credential
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["grant_type", "subject_token", "subject_token_type"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": [GRANT]},
                        "subject_token": {"type": "string", "minLength": 1},
                        "subject_token_type": {"type": "string", "enum": sorted(TOKEN_TYPES)},
                        "requested_token_type": {"type": "string", "enum": sorted(TOKEN_TYPES)},
                        "requested_subject": {
                            "type": "string",
                            "pattern": "^(agent|application):[a-z0-9][a-z0-9_-]{0,62}$",
                        },
                        "audience": {"type": "string", "enum": ["portcullis"]},
                    },
                }
            }
        },
    },
}
_TOKEN_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": TokenError, "description": "Refused (RFC 6749 section 5.2)"},
    401: {"model": TokenError, "description": "The Authorization header is not valid"},
    500: {"model": TokenError, "description": "A fault of ours"},
    503: {"model": TokenError, "description": "Nothing is done unrecorded"},
    408: refusals("PC1012")[408],
    413: refusals("PC1007")[413],
}


def create_app(services: Services) -> Api:
    """The ASGI application under ``/v1/`` on the gate's listener."""
    edge = services.edge("api")
    api = edge.app("Portcullis: sessions and tokens", services.version)
    principals = services.principals("api")
    sessions = Sessions(
        state=services.sessions,
        principals=principals,
        authority=services.authority,
        records=services.records(),
        clock=services.clock,
        tokens=services.tokens,
        new_id=services.new_id,
    )
    exchange = TokenExchange(
        authority=services.authority,
        principals=principals,
        feed=services.feed,
        sessions=services.sessions,
    )
    api.include_router(_sessions(edge, sessions))
    api.include_router(_token(edge, exchange, services))
    return api


def _sessions(edge: Edge, sessions: Sessions) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.APPLICATION))

    @router.post(
        "/v1/sessions",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2007"),
        openapi_extra=_BEARER,
    )
    async def open_session(request: Request, body: SessionRequest) -> SessionOpened:
        """Open a session for one task of one agent, and get the token it acts under."""
        session, minted = await sessions.open(
            request.state.context,
            agent=body.agent,
            user=body.user,
            prompt=body.prompt,
            subject=dict(body.subject),
            tools=None if body.tools is None else tuple(body.tools),
            ttl=body.ttl_seconds,
        )
        return SessionOpened(session=session.id, token=minted.token, expires_at=minted.expires_at)

    @router.get(
        "/v1/sessions/{session}",
        responses=refusals(*CREDENTIAL, "PC1021", "PC2010"),
        openapi_extra=_BEARER,
    )
    async def show_session(request: Request, session: str) -> SessionView:
        """One open session of the application's own."""
        return SessionView.of(await sessions.get(request.state.context, session))

    @router.delete(
        "/v1/sessions/{session}",
        status_code=204,
        responses=refusals(*CREDENTIAL, "PC1021", "PC2010"),
        openapi_extra=_BEARER,
    )
    async def close_session(request: Request, session: str) -> None:
        """End a session: its token is refused from the next request on."""
        await sessions.close(request.state.context, session)

    return router


def _token(edge: Edge, exchange: TokenExchange, services: Services) -> APIRouter:
    router = APIRouter(route_class=edge.door())

    @router.post(
        "/v1/token",
        responses=_TOKEN_ERRORS,
        response_model=ExchangedToken,
        openapi_extra=_TOKEN_FORM,
    )
    async def exchange_token(request: Request) -> Response:
        """Renew a token, or get one for an agent (RFC 8693)."""
        try:
            form = parse(request.headers.get("content-type", ""), await request.body())
            claims = exchange.subject(form)
            context = edge.admit_as(request, claims.principal())
            _same_principal(edge, request, context)
            minted = await exchange.exchange(context, claims, form.get("requested_subject"))
        except Problem as problem:
            return _refused(edge, request, problem)
        except Exception:
            log.exception("token_exchange_failed")
            return _refused(edge, request, Problem("PC9002", "the exchange failed"))
        answer = {
            "access_token": minted.token,
            "issued_token_type": form.get("requested_token_type", ACCESS_TOKEN),
            "token_type": "Bearer",
            "expires_in": int(minted.expires_at - services.clock.now()),
        }
        return Response(encode(answer), media_type="application/json")

    return router


def _same_principal(edge: Edge, request: Request, context: Context) -> None:
    """An Authorization header is not needed here; one that names another is refused."""
    if "authorization" not in request.headers:
        return
    try:
        caller = edge.authenticate(request)
    except Problem as problem:
        raise TokenProblem("invalid_client", problem.code, problem.detail) from None
    subject = context.principal
    if (caller.kind, caller.id) != (subject.kind, subject.id):
        detail = "Authorization and subject_token name two principals"
        raise TokenProblem("invalid_client", "PC2005", detail)


def _refused(edge: Edge, request: Request, problem: Problem) -> Response:
    """RFC 6749 section 5.2: 400, or 401 for invalid_client; faults keep their status."""
    answered = edge.record(request, problem)
    status = answered.status if answered.status >= 500 else 400  # noqa: PLR2004 - server errors
    if status != 400:  # noqa: PLR2004 - the same
        error = "temporarily_unavailable" if status == 503 else "server_error"  # noqa: PLR2004
    elif isinstance(answered, TokenProblem):
        error = answered.error
    else:
        error = "invalid_request"  # RFC 8693 section 2.2.2
    headers = dict(NO_STORE)
    if error == "invalid_client":
        status = 401
        headers["www-authenticate"] = "Bearer"
    body = {
        "error": error,
        "error_description": answered.detail,
        "code": answered.code,
        "hint": answered.hint,
    }
    return Response(
        encode(body), status_code=status, media_type="application/json", headers=headers
    )
