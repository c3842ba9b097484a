"""The control plane's API: pruning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from portcullis.audit.pruned import PRUNE, SEGMENT
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.pruning import Pruned, Pruning, Tell
from portcullis.control.records import Records
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.call import Context
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PruningRequest(_Shape):
    """One segment. ``before`` is in seconds since the epoch; None: what is past its maximum."""

    segment: Annotated[int, Field(ge=0, lt=2**62, multiple_of=SEGMENT)] = 0
    before: Annotated[float, Field(gt=0, lt=1e11)] | None = None
    dry_run: bool
    reason: Reason


class PruningView(_Shape):
    """What was (or would be) pruned, by class; ``following`` is the segment to go on with."""

    first: int | None
    last: int | None
    classes: dict[str, int]
    following: int | None

    @classmethod
    def of(cls, done: Pruned) -> PruningView:
        """The view of one step."""
        found = done.segment
        return cls(
            first=found.first if found else None,
            last=found.last if found else None,
            classes=found.classes if found else {},
            following=done.following,
        )


def told(records: Records, context: Context, reason: str, route: str) -> Tell:
    """Records a pruning as an operator's act."""

    async def tell(name: str, said: Mapping[str, Any]) -> None:
        more = {**said, "reason": reason}
        await records.act(context, PRUNE, name, route=route, parameters=more)

    return tell


def router(edge: Edge, pruning: Pruning, records: Records) -> APIRouter:
    """The routes, for administrators."""
    routes = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.AUDIT_PRUNE))

    @routes.post(
        "/api/v1/prunings",
        responses=refusals(*CREDENTIAL, *BODY, "PC6002", "PC6005"),
        openapi_extra=_BEARER,
    )
    async def prune(request: Request, body: PruningRequest) -> PruningView:
        """Prune a segment of the log, as far as policy allows and no legal hold forbids."""
        tell = told(records, request.state.context, body.reason, "control")
        before = pruning.before(body.before)
        return PruningView.of(
            await pruning.step(body.segment, before, None if body.dry_run else tell)
        )

    return routes
