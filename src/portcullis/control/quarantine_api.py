"""The control plane's API: who is in quarantine."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.quarantine import Quarantining
from portcullis.control.shapes import BODY, CREDENTIAL, Shape, refusals
from portcullis.core.feed import Kept
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_PATH: Final = "/api/v1/quarantine"
ScopeName = Literal["agent", "session"]


class QuarantineRequest(Shape):
    """Who, an agent's name or a session's id, and why: the reason is logged in clear."""

    scope: ScopeName
    value: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    reason: Reason


class QuarantinedView(Shape):
    """Somebody in quarantine.

    ``made_at`` is in seconds since the epoch, 0 when only this process knows of it: then it ends
    with it.
    """

    scope: ScopeName
    value: str
    reason: str
    made_at: float
    by: str

    @classmethod
    def of(cls, kept: Kept) -> QuarantinedView:
        """The view of an isolation."""
        return cls.model_validate({name: getattr(kept, name) for name in cls.model_fields})


class QuarantineList(Shape):
    """Who is in quarantine, the newest first."""

    quarantined: list[QuarantinedView]


class QuarantineView(Shape):
    """What has become of somebody."""

    scope: ScopeName
    value: str
    state: Literal["quarantined", "released"]


def routers(edge: Edge, quarantining: Quarantining) -> tuple[APIRouter, APIRouter, APIRouter]:
    """The routes for viewers, for responders, and for administrators."""
    viewers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))
    responders = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.QUARANTINE))
    writers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.QUARANTINE_LIFT))

    @viewers.get(_PATH, responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER)
    async def list_quarantined() -> QuarantineList:
        """Who is in quarantine."""
        found = await quarantining.list()
        return QuarantineList(quarantined=[QuarantinedView.of(one) for one in found])

    @responders.post(
        _PATH, responses=refusals(*CREDENTIAL, *BODY, "PC2006", "PC2010"), openapi_extra=_BEARER
    )
    async def quarantine(request: Request, body: QuarantineRequest) -> QuarantineView:
        """Isolate an agent or a session at once: only what policy lists goes on."""
        await quarantining.begin(request.state.context, body.scope, body.value, body.reason)
        return QuarantineView(scope=body.scope, value=body.value, state="quarantined")

    @writers.post(
        f"{_PATH}/release",
        responses=refusals(*CREDENTIAL, *BODY, "PC4011", "PC7063"),
        openapi_extra=_BEARER,
    )
    async def release(request: Request, body: QuarantineRequest) -> QuarantineView:
        """Let an agent or a session out of quarantine."""
        await quarantining.end(request.state.context, body.scope, body.value, body.reason)
        return QuarantineView(scope=body.scope, value=body.value, state="released")

    return viewers, responders, writers
