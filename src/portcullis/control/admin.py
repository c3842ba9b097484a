"""The control plane's API: principals, their tokens, figures and health, for operators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from starlette.routing import BaseRoute

from portcullis.control import break_glass_api, entries_api, login_api, metrics_api
from portcullis.control.edge import Api, Edge
from portcullis.control.login import Logins
from portcullis.control.principals import Principals
from portcullis.control.services import Services
from portcullis.control.shapes import (
    BODY,
    CREDENTIAL,
    CredentialId,
    CredentialView,
    Kind,
    OperatorRequest,
    PrincipalList,
    PrincipalName,
    PrincipalRequest,
    PrincipalView,
    ReviewRequest,
    Status,
    TokenMintRequest,
    TokenView,
    VersionView,
    Workload,
    refusals,
)
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ONE: Final = "/api/v1/principals/{kind}/{id}"
_MANAGE: Final = (Right.PRINCIPALS_MANAGE, Right.OPERATORS_MANAGE)


async def alone(registry: CollectorRegistry) -> bytes:
    """The figures of one process, in Prometheus' text format."""
    return generate_latest(registry)


def create_app(
    services: Services,
    *,
    registry: CollectorRegistry,
    ready: Callable[[], bool],
    figures: Callable[[CollectorRegistry], Awaitable[bytes]] = alone,
    scraper: metrics_api.Scraper = metrics_api.nobody,
    routers: Callable[[Edge], Iterable[APIRouter]] = lambda _: (),
    console: Callable[[Logins], Iterable[BaseRoute]] = lambda _: (),
) -> Api:
    """The ASGI application of the control listener.

    ``ready`` says whether the gate serves; ``figures`` gives the page of what ``registry`` and
    other processes have, ``scraper`` says whose credential is good for that alone; ``routers`` are
    further routes on the same edge, ``console`` those of pages, which share the logins: they count
    failures.
    """
    edge = services.edge("control")
    api = edge.app("Portcullis: control plane", services.version)
    principals = services.principals("control")
    api.include_router(_readers(edge, principals, api))
    api.include_router(metrics_api.router(edge, partial(figures, registry), scraper))
    api.include_router(_cutters(edge, principals))
    api.include_router(_writers(edge, principals))
    api.include_router(_program_writers(edge, principals))
    api.include_router(entries_api.router(edge, services.entries("control")))
    logins = services.logins("control")
    for router in login_api.routers(edge, principals, logins):
        api.include_router(router)
    if services.glass_parts is not None:
        for router in break_glass_api.routers(edge, logins, services.breaking_glass("control")):
            api.include_router(router)
    for router in routers(edge):
        api.include_router(router)
    api.include_router(_health(edge, ready))
    api.warm()
    api.router.routes.extend(console(logins))
    return api


def _readers(edge: Edge, principals: Principals, api: Api) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

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

    return router


def _cutters(edge: Edge, principals: Principals) -> APIRouter:
    """What has to be quick: cutting off."""
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.PRINCIPALS_CUT))
    changes = refusals(*CREDENTIAL, "PC1020", "PC1021", "PC2010", "PC2073", "PC1007", "PC1012")

    @router.post(f"{_ONE}/suspend", responses=changes, openapi_extra=_BEARER)
    async def suspend_principal(
        request: Request,
        kind: Kind,
        id: PrincipalName,  # noqa: A002 - the API's name
    ) -> PrincipalView:
        """Cut a principal off at once, until it is resumed."""
        context = request.state.context
        return PrincipalView.of(
            await principals.change(context, PrincipalKind(kind), id, Verb.SUSPEND)
        )

    @router.post(f"{_ONE}/revoke", responses=changes, openapi_extra=_BEARER)
    async def revoke_principal(
        request: Request,
        kind: Kind,
        id: PrincipalName,  # noqa: A002 - the API's name
    ) -> PrincipalView:
        """Cut a principal off at once and for ever; nobody gets its name again."""
        context = request.state.context
        return PrincipalView.of(
            await principals.change(context, PrincipalKind(kind), id, Verb.REVOKE)
        )

    @router.post(f"{_ONE}/rotate", responses=changes, openapi_extra=_BEARER)
    async def rotate_principal(
        request: Request,
        kind: Kind,
        id: PrincipalName,  # noqa: A002 - the API's name
    ) -> PrincipalView:
        """Make every credential worthless that a principal has; it may get new ones."""
        return PrincipalView.of(
            await principals.rotate(request.state.context, PrincipalKind(kind), id)
        )

    @router.post(
        "/api/v1/credentials/{id}/revoke",
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021", "PC1007", "PC1012"),
        openapi_extra=_BEARER,
    )
    async def revoke_credential(
        request: Request,
        id: CredentialId,  # noqa: A002 - the API's name
    ) -> CredentialView:
        """Cut one credential off at once: a token's id, or svid: and a serial number."""
        await principals.cut(request.state.context, id)
        return CredentialView(credential=id, state="revoked")

    return router


def _writers(edge: Edge, principals: Principals) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, *_MANAGE))

    @router.post(
        "/api/v1/principals",
        status_code=201,
        responses=refusals(
            *CREDENTIAL,
            *(*BODY, "PC2009", "PC2024", "PC2027", "PC3086", "PC7043", "PC7044", "PC7046"),
        ),
        openapi_extra=_BEARER,
    )
    async def create_principal(request: Request, body: PrincipalRequest) -> PrincipalView:
        """Register an agent, an application or an operator."""
        context, kind = request.state.context, PrincipalKind(body.kind)
        edge.need(context, _managing(kind))
        if isinstance(body, OperatorRequest):
            made = principals.create(
                context,
                kind,
                body.id,
                owner=body.owner,
                roles=tuple(body.roles),
                users=tuple(body.users),
            )
        else:
            made = principals.create(
                context,
                kind,
                body.id,
                owner=body.owner,
                purpose=body.purpose or "",
                review_at=body.review_at,
                spiffe_id=body.spiffe_id or "",
            )
        return PrincipalView.of(await made)

    @router.post(
        f"{_ONE}/resume",
        responses=refusals(
            *CREDENTIAL,
            *("PC1020", "PC1021", "PC2010", "PC2073", "PC1007", "PC1012", "PC7046"),
        ),
        openapi_extra=_BEARER,
    )
    async def resume_principal(
        request: Request,
        kind: Kind,
        id: PrincipalName,  # noqa: A002 - the API's name
    ) -> PrincipalView:
        """Let a suspended principal act again."""
        context = request.state.context
        edge.need(context, _managing(PrincipalKind(kind)))
        return PrincipalView.of(
            await principals.change(context, PrincipalKind(kind), id, Verb.RESUME)
        )

    return router


def _program_writers(edge: Edge, principals: Principals) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.PRINCIPALS_MANAGE))

    @router.post(
        f"{_ONE}/review",
        responses=refusals(*CREDENTIAL, *BODY, "PC2010", "PC2073"),
        openapi_extra=_BEARER,
    )
    async def review_principal(
        request: Request,
        kind: Workload,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: ReviewRequest,
    ) -> PrincipalView:
        """Let a program live on until its next review; one that expired is active again."""
        return PrincipalView.of(
            await principals.change(
                request.state.context,
                PrincipalKind(kind),
                id,
                Verb.REVIEW,
                review_at=body.review_at,
            )
        )

    @router.post(
        f"{_ONE}/tokens",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2007", "PC2049"),
        openapi_extra=_BEARER,
    )
    async def mint_token(
        request: Request,
        kind: Kind,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: TokenMintRequest,
    ) -> TokenView:
        """Mint a token that is bound to no key, where the configuration allows them."""
        return TokenView.of(
            await principals.bearer(
                request.state.context, PrincipalKind(kind), id, ttl=body.ttl_seconds
            )
        )

    return router


def _managing(kind: PrincipalKind) -> Right:
    return Right.OPERATORS_MANAGE if kind is PrincipalKind.OPERATOR else Right.PRINCIPALS_MANAGE


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
