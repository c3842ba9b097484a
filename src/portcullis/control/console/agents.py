"""Agents: who they are, how risky they are, and when they did something last."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.behaviour import Behaving
from portcullis.control.console.addresses import linked
from portcullis.control.console.cutting import Cutting
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.render import Pages
from portcullis.control.console.risk import BY_RISK, by_name, by_risk, level_of
from portcullis.core.behaviour import RiskLevel
from portcullis.core.desk import AgentsWanted
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State

FILTERS: Final = frozenset({"state", "name", "level", "sort"})
_PAGE: Final = 50


def routes(
    doors: Doors, pages: Pages, activity: Activity, behaving: Behaving, cutting: Cutting
) -> list[Route]:
    """The list."""

    async def agents(request: Request, visitor: Visitor) -> Response:
        query = request.query_params
        given = {name: query[name] for name in sorted(FILTERS) if query.get(name)}
        level = level_of(given.get("level", ""))
        if given.get("state", State.ACTIVE) not in tuple(State):
            raise Problem("PC1020", "state: there is no such state")
        if given.get("sort", BY_RISK) != BY_RISK:
            raise Problem("PC1020", "sort: there is no such order")
        cursor = query.get("cursor", "")
        wanted = AgentsWanted(state=given.get("state", ""), name=given.get("name", ""))
        ranked = level is not None or "sort" in given
        if ranked:
            found = await by_risk(activity, behaving, wanted, level, cursor, _PAGE)
        else:
            found = await by_name(activity, behaving, wanted, cursor, _PAGE)
        return pages.render(
            request,
            visitor,
            "agents.html",
            rows=found.agents,
            risks=found.risks,
            cut={
                one.record.id: cutting.badges(one.record.id)
                for one in found.agents
                if one.record.state is State.ACTIVE
            },
            observed=cutting.observed.all(),
            ranked=ranked,
            given=given,
            states=tuple(State),
            levels=tuple(RiskLevel),
            cursor=cursor,
            first=linked(given),
            following=linked(given, cursor=found.following) if found.following else "",
        )

    return [doors.page("/agents", agents, query=FILTERS | {"cursor"})]
