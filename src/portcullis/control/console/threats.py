"""The threat model of this deployment, as it is configured now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.render import Pages
from portcullis.core.errors import Problem
from portcullis.review.threats import Model
from portcullis.review.threats_rating import Coverage
from portcullis.review.threats_svg import svg
from portcullis.review.threats_text import TITLES, Row, rows

_PATH = "/policy/threats"
_NOT_YET = "PC7030"


def routes(doors: Doors, pages: Pages, draw: Callable[[], Model]) -> list[Route]:
    """The page. ``draw`` blocks."""
    drawing = asyncio.Lock()

    async def threats(request: Request, visitor: Visitor) -> Response:
        async with drawing:
            model = await asyncio.to_thread(_drawn, draw)
        return pages.render(
            request,
            visitor,
            "threats.html",
            model=model,
            parts_of=_parts(model),
            flows=Markup(svg(model)) if model else "",  # noqa: S704 - escaped where it is made
        )

    return [doors.page(_PATH, threats)]


def _drawn(draw: Callable[[], Model]) -> Model | None:
    """The model; None before there is a policy."""
    try:
        return draw()
    except Problem as problem:
        if problem.code != _NOT_YET:
            raise
        return None


def _parts(model: Model | None) -> list[tuple[str, str, list[Row]]]:
    """Each coverage by its name and title, with what is of it."""
    if model is None:
        return []
    return [
        (one.value, TITLES[one], list(rows([t for t in model.threats if t.coverage is one])))
        for one in Coverage
    ]
