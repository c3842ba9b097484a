"""Open sessions: which agent works for which application, until when. No content, no users."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.console.addresses import linked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.render import Pages
from portcullis.core.desk import SessionsWanted

FILTERS: Final = frozenset({"agent", "application"})
_PAGE: Final = 50


def routes(doors: Doors, pages: Pages, activity: Activity) -> list[Route]:
    """The sessions."""

    async def sessions(request: Request, visitor: Visitor) -> Response:
        query = request.query_params
        given = {name: query[name] for name in sorted(FILTERS) if query.get(name)}
        found = await activity.sessions(SessionsWanted(**given), query.get("cursor", ""), _PAGE)
        return pages.render(
            request,
            visitor,
            "sessions.html",
            rows=found.sessions,
            given=given,
            cursor=query.get("cursor", ""),
            first=linked(given),
            following=linked(given, cursor=found.following) if found.following else "",
        )

    return [doors.page("/sessions", sessions, query=FILTERS | {"cursor"})]
