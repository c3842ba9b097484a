"""The servers and tools behind the gate, and what holds those that it starts itself."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.render import Pages
from portcullis.control.tools import Standing


def routes(doors: Doors, pages: Pages, standing: Sequence[Standing]) -> list[Route]:
    """The page."""

    async def tools(request: Request, visitor: Visitor) -> Response:
        bare = sum(one.how == "bare" for one in standing)
        return pages.render(request, visitor, "tools.html", rows=standing, bare=bare)

    return [doors.page("/tools", tools)]
