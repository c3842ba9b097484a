"""The control plane's API: operators who break the glass, and the reviews of that."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from portcullis.control.break_glass import BreakingGlass
from portcullis.control.edge import Edge, source_of, trace_id_of
from portcullis.control.login import Locked, Logins
from portcullis.control.privacy_api import EventId, Reason
from portcullis.control.shapes import (
    BODY,
    CREDENTIAL,
    PROBLEM_JSON,
    PasswordLogin,
    Shape,
    refusals,
)
from portcullis.core.break_glass import BrokenGlass
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.rights import Right
from portcullis.wire.json import encode

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_PATH: Final = "/api/v1/break-glass"
_LOGIN: Final = "/api/v1/login/break-glass"


class BreakGlassRequest(PasswordLogin):
    """What an operator shows, why, and for how long."""

    reason: Reason
    minutes: Annotated[int, Field(ge=1, le=720)]


class ReviewGlassRequest(Shape):
    """What the review found."""

    judgement: Literal["justified", "unjustified"]
    reason: Reason


class GlassView(Shape):
    """One time that somebody broke the glass. Times are seconds since the epoch, 0 for not yet.

    ``judgement`` is empty until somebody else has reviewed it.
    """

    id: str
    operator: str
    credential: str
    reason: str
    roles: list[str]
    began_at: float
    ends_at: float
    ended_at: float
    closed_at: float
    closed_by: str
    judgement: Literal["", "justified", "unjustified"]
    note: str

    @classmethod
    def of(cls, one: BrokenGlass) -> GlassView:
        """The view of one."""
        found = {name: getattr(one, name) for name in cls.model_fields}
        return cls(**found | {"roles": list(one.roles)})


class GlassList(Shape):
    """The newest ones, the newest first."""

    broken: list[GlassView]


class GlassTokenView(Shape):
    """A token with more rights, and what is on record of it."""

    token: str
    glass: GlassView


def routers(edge: Edge, logins: Logins, breaking: BreakingGlass) -> tuple[APIRouter, ...]:
    """The way in, which asks for no token; the list for viewers; the review for admins."""
    return _door(edge, logins, breaking), _viewers(edge, breaking), _reviewers(edge, breaking)


def _door(edge: Edge, logins: Logins, breaking: BreakingGlass) -> APIRouter:
    router = APIRouter(route_class=edge.door())

    @router.post(
        _LOGIN,
        status_code=201,
        responses=refusals(*BODY, "PC2070", "PC2071", "PC2086", "PC3081", "PC3082"),
        response_model=GlassTokenView,
        openapi_extra={"security": []},  # the body is the credential
    )
    async def break_glass(request: Request, body: BreakGlassRequest) -> Response:
        """Take more rights for a while, with password and one-time code; everybody is told."""
        source = source_of(request)
        try:
            shown = await logins.password(body.name, body.password, body.code, source=source)
        except Problem as problem:  # recorded where it was raised
            headers = {"retry-after": str(problem.seconds)} if isinstance(problem, Locked) else {}
            return Response(
                encode(problem.document()), problem.status, media_type=PROBLEM_JSON, headers=headers
            )
        context = request.state.context = Context(
            principal=Principal(
                kind=PrincipalKind.OPERATOR,
                id=body.name,
                credential=shown.id,
                expires_at=shown.expires_at,
            ),
            session=None,
            source=source,
            trace_id=trace_id_of(request),
            received_at=breaking.now(),
        )
        one, minted = await breaking.begin(
            context, body.reason, body.minutes, secrets.token_hex(16)
        )
        view = GlassTokenView(token=minted.token, glass=GlassView.of(one))
        return Response(encode(view.model_dump()), 201, media_type="application/json")

    return router


def _viewers(edge: Edge, breaking: BreakingGlass) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get(_PATH, responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER)
    async def list_broken_glass() -> GlassList:
        """Who broke the glass, why, until when, and what the review said."""
        return GlassList(broken=[GlassView.of(one) for one in await breaking.list()])

    @router.post(
        f"{_PATH}/{{id}}/end",
        responses=refusals(*CREDENTIAL, "PC1007", "PC1012", "PC1020", "PC1021", "PC3084", "PC3085"),
        openapi_extra=_BEARER,
    )
    async def end_break_glass(request: Request, id: EventId) -> GlassView:  # noqa: A002 - API
        """Take the rights away before their time: one's own, or with principals.cut anybody's."""
        return GlassView.of(await breaking.end(request.state.context, id))

    return router


def _reviewers(edge: Edge, breaking: BreakingGlass) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.GLASS_REVIEW))

    @router.post(
        f"{_PATH}/{{id}}/review",
        responses=refusals(*CREDENTIAL, *BODY, "PC3083", "PC3084", "PC3085"),
        openapi_extra=_BEARER,
    )
    async def review_break_glass(
        request: Request,
        id: EventId,  # noqa: A002 - the API's name
        body: ReviewGlassRequest,
    ) -> GlassView:
        """Close it with a judgement; by somebody else than who broke the glass."""
        done = await breaking.close(request.state.context, id, body.judgement, body.reason)
        return GlassView.of(done)

    return router
