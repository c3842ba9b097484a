"""The control plane's API: putting backups on record."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from portcullis.control.backups import Backups, Begun
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import EventId, Reason
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class BackupRequest(_Shape):
    """For whose keys, and whether the key manager's own key goes along."""

    recipients: Annotated[
        list[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]], Field(min_length=1, max_length=16)
    ]
    root_key: bool
    reason: Reason


class BegunView(_Shape):
    """The backup's id, and the entries that the log then has."""

    id: str
    size: int

    @classmethod
    def of(cls, begun: Begun) -> BegunView:
        """The view of one."""
        return cls(id=begun.id, size=begun.size)


class MadeRequest(_Shape):
    """The file that was made."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1, lt=2**62)]


class MadeView(_Shape):
    """It is on record."""

    id: str
    state: Literal["recorded"] = "recorded"


def router(edge: Edge, backups: Backups) -> APIRouter:
    """The routes, for administrators."""
    routes = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.BACKUP_MAKE))

    @routes.post(
        "/api/v1/backups",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY),
        openapi_extra=_BEARER,
    )
    async def begin(request: Request, body: BackupRequest) -> BegunView:
        """Record that everything is about to be copied into a sealed file."""
        return BegunView.of(
            await backups.begin(
                request.state.context, body.recipients, body.reason, root_key=body.root_key
            )
        )

    @routes.post(
        "/api/v1/backups/{id}/made",
        responses=refusals(*CREDENTIAL, *BODY),
        openapi_extra=_BEARER,
    )
    async def made(
        request: Request,
        id: EventId,  # noqa: A002 - the API's name
        body: MadeRequest,
    ) -> MadeView:
        """Record what was made."""
        await backups.made(request.state.context, id, body.digest, body.bytes)
        return MadeView(id=id)

    return routes
