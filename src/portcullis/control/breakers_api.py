"""The control plane's API: circuit breakers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from portcullis.control.breakers import Breaking
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.shapes import BODY, CREDENTIAL, Shape, refusals
from portcullis.core.breaker import Breaker
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_PATH: Final = "/api/v1/breakers"
BREAKER: Final = r"^(agent|upstream):[a-z0-9][a-z0-9_-]{0,62}(/[a-z0-9][a-z0-9_-]{0,62})?$"
"""What a breaker is called."""


class BreakerView(Shape):
    """A breaker that is not closed. Times are seconds since the epoch.

    ``gateway`` is whose it is, empty for an agent's, which is everybody's; ``until`` is when one
    call may try, or of a half-open one, when its probe has taken too long.
    """

    name: str
    scope: Literal["agent", "upstream"]
    gateway: str
    state: Literal["open", "half_open"]
    reason: str
    since: float
    until: float
    times: int

    @classmethod
    def of(cls, breaker: Breaker) -> BreakerView:
        """The view of a breaker."""
        key = breaker.key
        more = {name: getattr(breaker, name) for name in ("reason", "since", "until", "times")}
        return cls.model_validate(
            {"name": key.name, "scope": key.scope, "gateway": key.gateway}
            | {"state": breaker.state.value}
            | more
        )


class BreakerList(Shape):
    """The breakers that are not closed."""

    breakers: list[BreakerView]


class BreakerResetRequest(Shape):
    """Which (``agent:NAME``, ``upstream:NAME``, ``upstream:NAME/AGENT``), and why."""

    breaker: Annotated[str, Field(pattern=BREAKER)]
    reason: Reason


class BreakerReset(Shape):
    """A breaker that was closed, in how many gateways."""

    breaker: str
    closed: int
    state: Literal["closed"] = "closed"


def routers(edge: Edge, breaking: Breaking) -> tuple[APIRouter, APIRouter]:
    """The routes for viewers, and for administrators."""
    viewers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))
    writers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.BREAKERS_RESET))

    @viewers.get(_PATH, responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER)
    async def list_breakers() -> BreakerList:
        """The circuit breakers that are not closed, of all gateways."""
        return BreakerList(breakers=[BreakerView.of(one) for one in await breaking.list()])

    @writers.post(
        f"{_PATH}/reset", responses=refusals(*CREDENTIAL, *BODY, "PC4012"), openapi_extra=_BEARER
    )
    async def reset_breaker(request: Request, body: BreakerResetRequest) -> BreakerReset:
        """Close a circuit breaker, in every gateway, and forget what it had counted."""
        closed = await breaking.reset(request.state.context, body.breaker, body.reason)
        return BreakerReset(breaker=body.breaker, closed=closed)

    return viewers, writers
