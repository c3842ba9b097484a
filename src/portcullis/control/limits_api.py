"""The control plane's API: what is left of limits, page by page."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from portcullis.control.edge import Edge
from portcullis.control.limits import Limits
from portcullis.control.limits_shapes import LimitLeft
from portcullis.control.shapes import CREDENTIAL, Shape, refusals
from portcullis.core.desk import MOST
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_REFUSED: Final = refusals(*CREDENTIAL, "PC1020", "PC1021", "PC3051", "PC3073", "PC3079")

Text = Annotated[str, Query(max_length=256)]
Cursor = Annotated[str, Query(max_length=1024)]
Page = Annotated[int, Query(ge=1, le=MOST)]


class LimitList(Shape):
    """Counts by the limit's name; `following` is the next page's cursor, empty at the end."""

    limits: list[LimitLeft]
    following: str


def router(edge: Edge, limits: Limits) -> APIRouter:
    """The route, for any operator."""
    made = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @made.get("/api/v1/limits", responses=_REFUSED, openapi_extra=_BEARER)
    async def list_limits(
        name: Text = "", agent: Text = "", user: Text = "", cursor: Cursor = "", limit: Page = 50
    ) -> LimitList:
        """What is counted for the limits of the policy in force, and what is left.

        Of one limit (`name`), of one `agent` or one `user`, or all. What nobody has used yet is not
        counted, and not shown. A page looks at a bounded number of counts: it may be short, or
        empty, and not the last.
        """
        page = await limits.page(limit=name, agent=agent, user=user, cursor=cursor, most=limit)
        shown = [LimitLeft.of(one) for one in page.limits]
        return LimitList(limits=shown, following=page.following)

    return made
