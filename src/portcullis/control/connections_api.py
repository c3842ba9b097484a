"""The APIs of users' accounts at upstreams: links for applications, grants for operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import Field

from portcullis.control.connecting import Connecting, Offered
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.shapes import BODY, CREDENTIAL, PrincipalName, Shape, refusals
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.grants import Grant, Holding
from portcullis.core.ports import Directory
from portcullis.core.principal import PrincipalKind, Session
from portcullis.core.rights import Right
from portcullis.core.session_ports import SessionState

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
UpstreamName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
GrantId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
UserName = Annotated[str, Field(min_length=1, max_length=256)]


class LinkRequest(Shape):
    """Where the user of the session is to connect an account."""

    upstream: UpstreamName


class OwnLinkRequest(LinkRequest):
    """The same for an operator himself: as which ``user`` of which ``application``."""

    application: PrincipalName
    user: UserName


class LinkView(Shape):
    """A link for one person, good once and until then: who follows it connects an account of his.

    ``expires_at`` is in seconds since the epoch.
    """

    url: str
    expires_at: float


class ConnectionView(Shape):
    """Whether a session's user has connected an account, and since when; 0.0 is never."""

    upstream: str
    connected: bool
    since: float = 0.0


class ConnectionList(Shape):
    """All upstreams where users connect accounts."""

    connections: list[ConnectionView]


class GrantView(Shape):
    """A grant of a user's, without its tokens. Times are seconds since the epoch."""

    id: str
    upstream: str
    application: str
    user: str
    account: str
    issuer: str
    scopes: list[str]
    created_at: float
    refreshed_at: float

    @classmethod
    def of(cls, grant: Grant) -> GrantView:
        """The view of a grant."""
        holding = grant.holding
        return cls(
            id=grant.id,
            upstream=holding.upstream,
            application=holding.application,
            user=holding.user,
            account=grant.account,
            issuer=grant.issuer,
            scopes=list(grant.scopes),
            created_at=grant.created_at,
            refreshed_at=grant.refreshed_at,
        )


class GrantList(Shape):
    """Grants, the oldest first."""

    grants: list[GrantView]


class RevokeRequest(Shape):
    """Why, in one line that names no person."""

    reason: Reason


class RevokedView(Shape):
    """A grant that has ended. ``server_told``: the authorization server has taken note too."""

    id: str
    server_told: bool


def applications(
    edge: Edge,
    connecting: Connecting,
    sessions: SessionState,
    where: Callable[[str, str], str],
) -> APIRouter:
    """The routes on the gate's listeners; ``where`` makes the address of an upstream and a code."""
    router = APIRouter(route_class=edge.door(PrincipalKind.APPLICATION))

    async def own(context: Context, session_id: str) -> Session:
        session = await sessions.get(session_id)
        if session is None or session.application != context.principal.id:
            raise Problem("PC2010", "the application has no open session of this id")
        return session

    @router.post(
        "/v1/sessions/{session}/connections",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2010", "PC5087"),
        openapi_extra=_BEARER,
    )
    async def connect_account(request: Request, session: str, body: LinkRequest) -> LinkView:
        """Get a link by which the session's user connects an account; give it to nobody else."""
        context: Context = request.state.context
        found = await own(context, session)
        holding = Holding(upstream=body.upstream, application=found.application, user=found.user)
        offered = await connecting.offer(context, holding, found.id)
        return _link(offered, where(body.upstream, offered.code))

    @router.get(
        "/v1/sessions/{session}/connections",
        responses=refusals(*CREDENTIAL, "PC1021", "PC2010"),
        openapi_extra=_BEARER,
    )
    async def list_connections(request: Request, session: str) -> ConnectionList:
        """Which accounts the session's user has connected."""
        found = await own(request.state.context, session)
        known = await connecting.connected(found.application, found.user)
        return ConnectionList(
            connections=[
                ConnectionView(
                    upstream=name,
                    connected=name in known,
                    since=known[name].created_at if name in known else 0.0,
                )
                for name in connecting.upstreams()
            ]
        )

    @router.delete(
        "/v1/sessions/{session}/connections/{upstream}",
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021", "PC2010", "PC5086"),
        openapi_extra=_BEARER,
    )
    async def disconnect_account(
        request: Request, session: str, upstream: UpstreamName
    ) -> RevokedView:
        """End the grant of the session's user: for all of that user's sessions."""
        context: Context = request.state.context
        found = await own(context, session)
        known = await connecting.connected(found.application, found.user)
        if upstream not in known:
            raise Problem("PC5086", "the user has connected no account there")
        grant = known[upstream].id
        told = await connecting.revoke(context, grant, "by the application")
        return RevokedView(id=grant, server_told=told)

    return router


def operators(
    edge: Edge,
    connecting: Connecting,
    directory: Directory,
    where: Callable[[str, str], str],
) -> tuple[APIRouter, ...]:
    """The routes on the control listener."""
    return _viewers(edge, connecting, directory, where), _responders(edge, connecting)


def _viewers(
    edge: Edge, connecting: Connecting, directory: Directory, where: Callable[[str, str], str]
) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get(
        "/api/v1/grants",
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021"),
        openapi_extra=_BEARER,
    )
    async def list_grants(
        upstream: UpstreamName | None = None,
        application: PrincipalName | None = None,
        user: UserName | None = None,
    ) -> GrantList:
        """What users granted: all, or those of an upstream, an application, a user."""
        found = await connecting.list(upstream or "", application or "", user or "")
        return GrantList(grants=[GrantView.of(grant) for grant in found])

    @router.post(
        "/api/v1/grants/links",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2007", "PC5087"),
        openapi_extra=_BEARER,
    )
    async def connect_own_account(request: Request, body: OwnLinkRequest) -> LinkView:
        """Get a link for an account of the operator's own, as one of the users that he is."""
        context: Context = request.state.context
        record = directory.get(PrincipalKind.OPERATOR, context.principal.id)
        if record is None or body.user not in record.users:
            hint = "`portcullis operator is` says by which names an operator is a user."
            detail = "an operator connects his own accounts alone: he is not this user"
            raise Problem("PC2004", detail, hint=hint)
        if directory.get(PrincipalKind.APPLICATION, body.application) is None:
            raise Problem("PC2007", "no application of this name is registered")
        holding = Holding(upstream=body.upstream, application=body.application, user=body.user)
        offered = await connecting.offer(context, holding, "")
        return _link(offered, where(body.upstream, offered.code))

    return router


def _responders(edge: Edge, connecting: Connecting) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.GRANTS_REVOKE))

    @router.post(
        "/api/v1/grants/{id}/revoke",
        responses=refusals(*CREDENTIAL, *BODY, "PC5086"),
        openapi_extra=_BEARER,
    )
    async def revoke_grant(
        request: Request,
        id: GrantId,  # noqa: A002 - the API's name
        body: RevokeRequest,
    ) -> RevokedView:
        """End a grant, here at once and at its authorization server."""
        told = await connecting.revoke(request.state.context, id, body.reason)
        return RevokedView(id=id, server_told=told)

    return router


def _link(offered: Offered, url: str) -> LinkView:
    return LinkView(url=url, expires_at=offered.expires_at)
