"""The control plane's API: principals, their tokens, figures and health, for operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from portcullis.control.edge import Api, Edge
from portcullis.control.principals import Principals
from portcullis.control.services import Services
from portcullis.control.shapes import (
    BODY,
    CREDENTIAL,
    Kind,
    OperatorRequest,
    PrincipalList,
    PrincipalName,
    PrincipalRequest,
    PrincipalView,
    Status,
    TokenMintRequest,
    TokenView,
    VersionView,
    refusals,
)
from portcullis.core.principal import PrincipalKind

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ONE: Final = "/api/v1/principals/{kind}/{id}"


def create_app(
    services: Services, *, registry: CollectorRegistry, ready: Callable[[], bool]
) -> Api:
    """The ASGI application of the control listener. ``ready`` says whether the gate serves."""
    edge = services.edge("control")
    api = edge.app("Portcullis: control plane", services.version)
    principals = services.principals("control")
    api.include_router(_readers(edge, principals, registry, api))
    api.include_router(_writers(edge, principals))
    api.include_router(_health(edge, ready))
    return api


def _readers(
    edge: Edge, principals: Principals, registry: CollectorRegistry, api: Api
) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, "viewer"))

    @router.get(
        "/api/v1/principals",
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021"),
        openapi_extra=_BEARER,
    )
    async def list_principals(kind: Kind | None = None) -> PrincipalList:
        """All principals, or those of one kind."""
        found = await principals.list(None if kind is None else PrincipalKind(kind))
        return PrincipalList(principals=[PrincipalView.of(record) for record in found])

    @router.get(
        _ONE, responses=refusals(*CREDENTIAL, "PC1020", "PC1021", "PC2010"), openapi_extra=_BEARER
    )
    async def show_principal(kind: Kind, id: PrincipalName) -> PrincipalView:  # noqa: A002 - API
        """One principal."""
        return PrincipalView.of(await principals.get(PrincipalKind(kind), id))

    @router.get("/api/v1/version", responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER)
    async def show_version() -> VersionView:
        """The version of the program."""
        return VersionView(version=api.version)

    @router.get(
        "/api/v1/openapi.json",
        responses=refusals(*CREDENTIAL, "PC1021"),
        openapi_extra=_BEARER,
        response_class=JSONResponse,
    )
    async def show_openapi() -> dict[str, Any]:
        """This description."""
        return api.openapi()

    @router.get(
        "/metrics",
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **refusals(*CREDENTIAL, "PC1021"),
        },
        openapi_extra=_BEARER,
        response_class=Response,
    )
    async def show_metrics() -> Response:
        """The gate's figures in Prometheus' text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


def _writers(edge: Edge, principals: Principals) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, "admin"))

    @router.post(
        "/api/v1/principals",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2009"),
        openapi_extra=_BEARER,
    )
    async def create_principal(request: Request, body: PrincipalRequest) -> PrincipalView:
        """Register an agent, an application or an operator."""
        record = await principals.create(
            request.state.context,
            PrincipalKind(body.kind),
            body.id,
            owner=body.owner,
            roles=tuple(body.roles) if isinstance(body, OperatorRequest) else (),
        )
        return PrincipalView.of(record)

    async def set_state(request: Request, kind: str, name: str, state: str) -> PrincipalView:
        record = await principals.set_state(request.state.context, PrincipalKind(kind), name, state)
        return PrincipalView.of(record)

    changes = refusals(*CREDENTIAL, "PC1020", "PC1021", "PC2010", "PC1007", "PC1012")

    @router.post(f"{_ONE}/disable", responses=changes, openapi_extra=_BEARER)
    async def disable_principal(
        request: Request,
        kind: Kind,
        id: PrincipalName,  # noqa: A002 - the API's name
    ) -> PrincipalView:
        """Cut a principal off, from its next request on."""
        return await set_state(request, kind, id, "disabled")

    @router.post(f"{_ONE}/enable", responses=changes, openapi_extra=_BEARER)
    async def enable_principal(
        request: Request,
        kind: Kind,
        id: PrincipalName,  # noqa: A002 - the API's name
    ) -> PrincipalView:
        """Let a disabled principal act again."""
        return await set_state(request, kind, id, "active")

    @router.post(
        f"{_ONE}/tokens",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2007"),
        openapi_extra=_BEARER,
    )
    async def mint_token(
        request: Request,
        kind: Kind,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: TokenMintRequest,
    ) -> TokenView:
        """Mint a token for a registered, active principal."""
        minted = await principals.mint(
            request.state.context, PrincipalKind(kind), id, ttl=body.ttl_seconds
        )
        return TokenView(token=minted.token, credential=minted.id, expires_at=minted.expires_at)

    return router


def _health(edge: Edge, ready: Callable[[], bool]) -> APIRouter:
    """The only routes without a principal: two fixed answers, no information."""
    router = APIRouter(route_class=edge.door())

    @router.get("/healthz", openapi_extra={"security": []})
    async def healthz() -> Status:
        """The process runs."""
        return Status(status="ok")

    @router.get(
        "/readyz",
        responses={503: {"model": Status, "description": "Not serving"}},
        response_model=Status,
        openapi_extra={"security": []},
    )
    async def readyz() -> Response:
        """The gate serves requests."""
        if ready():
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, status_code=503)

    return router
