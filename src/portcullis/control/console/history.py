"""What the log says of an incident: the timeline, how far it went, and the report to take away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.console.addresses import linked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.incidents import PLACE
from portcullis.control.console.render import Pages
from portcullis.control.incidents import Incidents
from portcullis.control.incidents_timeline import Form, Telling
from portcullis.core.errors import Problem
from portcullis.review.incident_words import KINDS

FORMS: Final[tuple[Form, ...]] = get_args(Form)
_PAGE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPages:
    """All are for viewers, as at the API: nothing of them shows content."""

    doors: Doors
    pages: Pages
    incidents: Incidents
    telling: Telling

    def routes(self) -> list[Route]:
        """The pages and the downloads."""
        page = self.doors.page
        one = f"{PLACE}/{{id}}"
        return [
            page(f"{one}/timeline", self._timeline, query=frozenset({"kind", "cursor"})),
            page(f"{one}/radius", self._radius),
            page(f"{one}/report", self._report, query=frozenset({"format", "notes"})),
        ]

    async def _timeline(self, request: Request, visitor: Visitor) -> Response:
        query, key = request.query_params, request.path_params["id"]
        kind, cursor = query.get("kind", ""), query.get("cursor", "")
        found = await self.telling.timeline(key, (kind,) if kind else (), cursor, _PAGE)
        given = {"kind": kind}
        return self.pages.render(
            request,
            visitor,
            "timeline.html",
            incident=await self.incidents.show(key),
            rows=found.rows,
            kind=kind,
            kinds=KINDS,
            cursor=cursor,
            first=linked(given),
            following=linked(given, cursor=found.next) if found.next else "",
        )

    async def _radius(self, request: Request, visitor: Visitor) -> Response:
        key = request.path_params["id"]
        return self.pages.render(
            request,
            visitor,
            "radius.html",
            incident=await self.incidents.show(key),
            radius=await self.telling.radius(key),
        )

    async def _report(self, request: Request, visitor: Visitor) -> Response:
        """The file, to be kept and never to be shown by the browser under this name."""
        del visitor
        query = request.query_params
        form = next((one for one in FORMS if one == query.get("format", "md")), None)
        if form is None or query.get("notes", "no") not in {"yes", "no"}:
            raise Problem("PC1020", "format: it is md, html or zip; notes: yes or no")
        made = await self.telling.report(
            request.path_params["id"], form, notes=query.get("notes") == "yes"
        )
        headers = {"content-disposition": f'attachment; filename="{made.name}"'}
        if made.key:
            headers["portcullis-key"] = made.key
        return Response(made.data, media_type=made.media_type, headers=headers)
