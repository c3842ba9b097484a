"""Open sessions: which agent works for which application, until when; and the button that ends one.

No content, no users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.closing import Closing
from portcullis.control.console.addresses import linked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.render import Pages
from portcullis.core.desk import SessionsWanted
from portcullis.core.rights import Right

FILTERS: Final = frozenset({"agent", "application"})
_PAGE: Final = 50


def routes(doors: Doors, pages: Pages, activity: Activity, closing: Closing) -> list[Route]:
    """The sessions, and the form that closes one."""

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
            closes=visitor.may(Right.SESSIONS_CLOSE),
            cursor=query.get("cursor", ""),
            first=linked(given),
            following=linked(given, cursor=found.following) if found.following else "",
        )

    async def close(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, *FILTERS)
        await closing.close(visitor.context, request.path_params["id"])
        given = {name: form[name] for name in sorted(FILTERS) if form.get(name)}
        return RedirectResponse(f"/sessions{linked(given)}", status_code=303)

    return [
        doors.page("/sessions", sessions, query=FILTERS | {"cursor"}),
        doors.form("/sessions/{id}/close", close, right=Right.SESSIONS_CLOSE),
    ]
