"""The control plane's API: what an incident's history says."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Response

from portcullis.control.edge import NO_STORE, Edge
from portcullis.control.incidents_timeline import Form, Telling
from portcullis.control.shapes import CREDENTIAL, Shape, refusals
from portcullis.core.incident_ports import Page, Row
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.review.incident_radius import Radius, Reached, Written
from portcullis.review.incident_timeline import MOST
from portcullis.review.incident_words import KINDS

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ONE: Final = "/api/v1/incidents/{id}"
_READ: Final = (*CREDENTIAL, "PC1020", "PC6002", "PC7005", "PC7060")
_DOWNLOAD: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The report",
        "content": {
            one: {"schema": {"type": "string"}}
            for one in ("text/markdown", "text/html", "application/zip")
        },
    }
}

Id = Annotated[str, Path(pattern=r"^[0-9a-zA-Z-]{1,64}$")]
Kind = Annotated[list[str], Query(max_length=len(KINDS))]
Cursor = Annotated[str, Query(max_length=1024)]
Limit = Annotated[int, Query(ge=1, le=MOST)]


class RowView(Shape):
    """One thing that happened: entry `index` of the log, by which it can be proven."""

    id: str
    at: float
    kind: str
    log: str
    index: int
    text: str
    name: str
    outcome: str
    code: str

    @classmethod
    def of(cls, row: Row) -> RowView:
        """The view of a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class TimelineView(Shape):
    """What happened, oldest first; `following` is the next page's cursor, empty at the end."""

    rows: list[RowView]
    following: str

    @classmethod
    def of(cls, page: Page) -> TimelineView:
        """The view of a page."""
        return cls(rows=[RowView.of(one) for one in page.rows], following=page.next)


class WrittenView(Shape):
    """What it changed through a tool; `shared` is what others may read of that, if known."""

    tool: str
    count: int
    first_at: float
    last_at: float
    shared: str

    @classmethod
    def of(cls, one: Written) -> WrittenView:
        """The view of it."""
        return cls(**{name: getattr(one, name) for name in cls.model_fields})


class ReachedView(Shape):
    """Another agent that came by it: how, and where the first and the last event stand."""

    agent: str
    how: Literal["delegated", "session", "thing", "memory", "resource"]
    log: str
    first: int
    last: int
    first_at: float
    last_at: float
    count: int
    sessions: int
    wrote: str
    read: str

    @classmethod
    def of(cls, one: Reached) -> ReachedView:
        """The view of it."""
        return cls(**{name: getattr(one, name) for name in cls.model_fields})


class RadiusView(Shape):
    """How far it went. `limits` say what cannot be known; `beyond` rows are not shown."""

    written: list[WrittenView]
    reached: list[ReachedView]
    limits: list[str]
    beyond: int

    @classmethod
    def of(cls, one: Radius) -> RadiusView:
        """The view of a radius."""
        return cls(
            written=[WrittenView.of(each) for each in one.written],
            reached=[ReachedView.of(each) for each in one.reached],
            limits=list(one.limits),
            beyond=one.beyond,
        )


def router(edge: Edge, telling: Telling) -> APIRouter:
    """The routes, all for viewers: nothing here shows content."""
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get(
        f"{_ONE}/timeline", responses=refusals(*_READ, "PC1021", "PC3051"), openapi_extra=_BEARER
    )
    async def incident_timeline(
        id: Id,  # noqa: A002 - the API's name
        kind: Kind = [],  # noqa: B006 - FastAPI copies it
        cursor: Cursor = "",
        limit: Limit = 100,
    ) -> TimelineView:
        """What happened to and through whoever the incident is about; of these kinds, or of all."""
        return TimelineView.of(await telling.timeline(id, kind, cursor, limit))

    @router.get(f"{_ONE}/radius", responses=refusals(*_READ), openapi_extra=_BEARER)
    async def incident_radius(id: Id) -> RadiusView:  # noqa: A002 - the API's name
        """Which other agents came by what it wrote, or acted for it, as far as the logs know."""
        return RadiusView.of(await telling.radius(id))

    @router.get(
        f"{_ONE}/report",
        response_class=Response,
        responses=refusals(*_READ, "PC1021", "PC6005") | _DOWNLOAD,
        openapi_extra=_BEARER,
    )
    async def incident_report(
        id: Id,  # noqa: A002 - the API's name
        format: Form = "md",  # noqa: A002 - the same
        notes: bool = False,  # noqa: FBT001, FBT002 - the same
    ) -> Response:
        """The report as Markdown, as HTML, or as an archive with proofs; `notes` with their texts.

        The archive's public key is in the header `portcullis-key`.
        """
        made = await telling.report(id, format, notes=notes)
        headers = {
            **NO_STORE,
            "content-disposition": f'attachment; filename="{made.name}"',
            "content-security-policy": "default-src 'none'; sandbox",
        }
        if made.key:
            headers["portcullis-key"] = made.key
        return Response(made.data, media_type=made.media_type, headers=headers)

    return router
