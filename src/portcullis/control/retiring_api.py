"""The control plane's API: gateways of other hosts that are never to serve again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict

from portcullis.config.common import NAME
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.retiring import Retiring
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.hosts import Presence
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RetireRequest(_Shape):
    """Why."""

    reason: Reason


class RetiredView(_Shape):
    """The gateway, the host that it was on, and its log, which is kept."""

    gateway: str
    host: str
    log: str

    @classmethod
    def of(cls, found: Presence) -> RetiredView:
        """The view of one."""
        return cls(gateway=found.name, host=found.host, log=found.log)


def router(edge: Edge, retiring: Callable[[str], Retiring]) -> APIRouter:
    """The one route."""
    routes = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.GATEWAYS_RETIRE))

    @routes.post(
        "/api/v1/gateways/{name}/retire",
        responses=refusals(*CREDENTIAL, *BODY, "PC7097", "PC7098"),
        openapi_extra=_BEARER,
    )
    async def retire(
        request: Request, name: Annotated[str, Path(pattern=NAME)], body: RetireRequest
    ) -> RetiredView:
        """Have a gateway of another host never serve again."""
        work = retiring(edge.route).retire(request.state.context, name, body.reason)
        return RetiredView.of(await work)

    return routes
