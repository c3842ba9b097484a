"""The control plane's API: registration entries and join tokens."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request

from portcullis.control.edge import Edge
from portcullis.control.entries import JOIN_SECONDS, Entries
from portcullis.control.shapes import (
    BODY,
    CREDENTIAL,
    EntryList,
    EntryRequest,
    EntryView,
    JoinRequest,
    JoinView,
    PrincipalName,
    Workload,
    refusals,
)
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ENTRIES: Final = "/api/v1/entries"


def router(edge: Edge, entries: Entries) -> APIRouter:
    """The routes of the entries: any operator reads, an administrator writes."""
    both = APIRouter()
    both.include_router(_readers(edge, entries))
    both.include_router(_writers(edge, entries))
    return both


def _readers(edge: Edge, entries: Entries) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get(
        _ENTRIES, responses=refusals(*CREDENTIAL, "PC1020", "PC1021"), openapi_extra=_BEARER
    )
    async def list_entries(
        kind: Workload | None = None, principal: PrincipalName | None = None
    ) -> EntryList:
        """All registration entries, those of a kind, or those of one principal."""
        found = await entries.list(None if kind is None else PrincipalKind(kind), principal)
        return EntryList(entries=[EntryView.of(entry) for entry in found])

    return router


def _writers(edge: Edge, entries: Entries) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.PRINCIPALS_MANAGE))

    @router.post(
        _ENTRIES,
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2007"),
        openapi_extra=_BEARER,
    )
    async def add_entry(request: Request, body: EntryRequest) -> EntryView:
        """Let the workloads that have all selectors be a principal."""
        entry = await entries.add(
            request.state.context,
            PrincipalKind(body.kind),
            body.principal,
            selectors=tuple(body.selectors),
            ttl=body.ttl_seconds,
        )
        return EntryView.of(entry)

    @router.delete(
        f"{_ENTRIES}/{{id}}",
        status_code=204,
        responses=refusals(*CREDENTIAL, "PC1021", "PC2010"),
        openapi_extra=_BEARER,
    )
    async def remove_entry(request: Request, id: str) -> None:  # noqa: A002 - the API's name
        """Take a registration entry back: nobody gets an SVID by it any more."""
        await entries.remove(request.state.context, id)

    @router.post(
        "/api/v1/principals/{kind}/{id}/join",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2007"),
        openapi_extra=_BEARER,
    )
    async def create_join_token(
        request: Request,
        kind: Workload,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: JoinRequest,
    ) -> JoinView:
        """A token by which one workload, once, becomes the principal."""
        ttl = body.ttl_seconds or JOIN_SECONDS
        made = await entries.join(request.state.context, PrincipalKind(kind), id, ttl=ttl)
        return JoinView(join_token=made.token, expires_at=made.expires_at)

    return router
