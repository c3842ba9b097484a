"""What was decided, the newest first: from the projection of the logs, by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.console.addresses import linked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.live import Happening
from portcullis.control.console.render import Pages
from portcullis.core.desk import SeenFilter
from portcullis.core.errors import Problem

FILTERS: Final = frozenset(
    {"agent", "session", "verdict", "code", "risk", "tool", "since", "until"}
)
_PAGE: Final = 50


def routes(doors: Doors, pages: Pages, activity: Activity) -> list[Route]:
    """The decisions."""

    async def decisions(request: Request, visitor: Visitor) -> Response:
        query = request.query_params
        given = {name: query[name] for name in sorted(FILTERS) if query.get(name)}
        found = await activity.decisions(filtered(given), query.get("cursor", ""), _PAGE)
        return pages.render(
            request,
            visitor,
            "decisions.html",
            rows=[Happening.seen(one) for one in found.decisions],
            given=given,
            cursor=query.get("cursor", ""),
            first=linked(given),
            following=linked(given, cursor=found.following) if found.following else "",
        )

    return [doors.page("/decisions", decisions, query=FILTERS | {"cursor"})]


def filtered(given: Mapping[str, str]) -> SeenFilter:
    """What an address wants to see. Times are as ISO 8601 has them. Raises Problem PC1020."""
    texts = {name: text for name, text in given.items() if name not in {"since", "until"}}
    return SeenFilter(**texts, since=_moment(given, "since"), until=_moment(given, "until"))


def _moment(given: Mapping[str, str], name: str) -> float | None:
    """Seconds since the epoch; a time that does not say where it is meant is in UTC."""
    if name not in given:
        return None
    try:
        at = datetime.fromisoformat(given[name])
    except ValueError:
        raise Problem("PC1020", f"{name}: it is no time, such as 2030-01-31T12:00") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
