"""Circuit breakers that are not closed, and the button that closes one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.breakers import Breaking
from portcullis.control.breakers_api import BREAKER
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.reasons import reason_of
from portcullis.control.console.render import Pages
from portcullis.core.errors import Problem
from portcullis.core.rights import Right

MOST: Final = 200
"""How many stand on the page; it says how many more there are."""
_SHOWN: Final = frozenset({"PC1020", "PC4012"})


def routes(doors: Doors, pages: Pages, breaking: Breaking) -> list[Route]:
    """The page, and the form that closes a breaker."""

    async def breakers(request: Request, visitor: Visitor) -> Response:
        return await page(request, visitor)

    async def page(
        request: Request,
        visitor: Visitor,
        problem: Problem | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        found = sorted(await breaking.list(), key=lambda one: (one.since, one.key), reverse=True)
        return pages.render(
            request,
            visitor,
            "breakers.html",
            status=200 if problem is None else problem.status,
            rows=found[:MOST],
            more=max(len(found) - MOST, 0),
            resets=visitor.may(Right.BREAKERS_RESET),
            problem=problem,
            form=form or {},
        )

    async def reset(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, "breaker", "reason")
        try:
            name = form.get("breaker", "")
            if re.fullmatch(BREAKER, name) is None:
                raise Problem("PC1020", "breaker: it is no name of one")
            await breaking.reset(visitor.context, name, reason_of(form))
        except Problem as problem:
            if problem.code not in _SHOWN:
                raise
            return await page(request, visitor, doors.record(request, problem), form)
        return RedirectResponse("/breakers", status_code=303)

    return [
        doors.page("/breakers", breakers),
        doors.form("/breakers/reset", reset, right=Right.BREAKERS_RESET),
    ]
