"""Agents: who they are, what they did last, and the button that cuts one off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.console.addresses import linked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.inbox import Filters, Row
from portcullis.control.console.live import Happening
from portcullis.control.console.reasons import typed
from portcullis.control.console.render import Pages
from portcullis.control.kills import Kills
from portcullis.control.principals import Principals
from portcullis.core.desk import AgentsWanted
from portcullis.core.errors import Problem
from portcullis.core.feed import Kept
from portcullis.core.lifecycle import TRANSITIONS, State, Verb
from portcullis.core.principal import PrincipalKind

FILTERS: Final = frozenset({"state", "name"})
_PAGE: Final = 50
_UNDONE: Final = "let act again in the console"
_ROLES: Final = {Verb.SUSPEND: "responder", Verb.REVOKE: "responder", Verb.RESUME: "admin"}


def routes(
    doors: Doors, pages: Pages, activity: Activity, principals: Principals, kills: Kills
) -> list[Route]:
    """The agents, one agent, and what may be done to it."""

    async def agents(request: Request, visitor: Visitor) -> Response:
        query = request.query_params
        given = {name: query[name] for name in sorted(FILTERS) if query.get(name)}
        if given.get("state", State.ACTIVE) not in tuple(State):
            raise Problem("PC1020", "state: there is no such state")
        found = await activity.agents(AgentsWanted(**given), query.get("cursor", ""), _PAGE)
        return pages.render(
            request,
            visitor,
            "agents.html",
            rows=found.agents,
            given=given,
            states=tuple(State),
            cursor=query.get("cursor", ""),
            first=linked(given),
            following=linked(given, cursor=found.following) if found.following else "",
        )

    async def agent(request: Request, visitor: Visitor) -> Response:
        return await page(request, visitor)

    async def page(request: Request, visitor: Visitor, problem: Problem | None = None) -> Response:
        detail = await activity.agent(request.path_params["name"])
        plain = Filters()
        killed = await _killed(kills, request.path_params["name"])
        return pages.render(
            request,
            visitor,
            "agent.html",
            status=200 if problem is None else problem.status,
            seen=detail.agent,
            record=detail.agent.record,
            waiting=[Row.of(one, plain) for one in detail.approvals],
            decisions=[Happening.seen(one) for one in detail.decisions],
            sessions=detail.sessions,
            may={
                verb.value: (detail.agent.record.state, verb) in TRANSITIONS and visitor.may(role)
                for verb, role in _ROLES.items()
            }
            | {
                "kill": killed is None and visitor.may("responder"),
                "undo": killed is not None and visitor.may("admin"),
            },
            killed=killed,
            problem=problem,
        )

    def change(verb: Verb) -> Route:
        async def changed(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
            only(form, *(("typed",) if verb is Verb.REVOKE else ()))
            name = request.path_params["name"]
            try:
                if verb is Verb.REVOKE:
                    typed(form, name, "the agent's name")
                await principals.change(visitor.context, PrincipalKind.AGENT, name, verb)
            except Problem as problem:
                if problem.code not in {"PC3054", "PC2073"}:
                    raise
                return await page(request, visitor, doors.record(request, problem))
            return RedirectResponse(f"/agents/{name}", status_code=303)

        return doors.form(f"/agents/{{name}}/{verb}", changed, role=_ROLES[verb])

    return [
        *_killing(doors, kills),
        doors.page("/agents", agents, query=FILTERS | {"cursor"}),
        doors.page("/agents/{name}", agent),
        *map(change, _ROLES),
    ]


def _killing(doors: Doors, kills: Kills) -> list[Route]:
    """The button that kills, and the one that takes that back."""

    async def kill(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form)
        name = request.path_params["name"]
        await kills.kill(visitor.context, "agent", name, "")
        return RedirectResponse(f"/agents/{name}", status_code=303)

    async def undo(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form)
        name = request.path_params["name"]
        await kills.undo(visitor.context, "agent", name, _UNDONE)
        return RedirectResponse(f"/agents/{name}", status_code=303)

    return [
        doors.form("/agents/{name}/kill", kill, role="responder"),
        doors.form("/agents/{name}/undo", undo, role="admin"),
    ]


async def _killed(kills: Kills, agent: str) -> Kept | None:
    """The kill of an agent that is in force, if there is one."""
    standing = await kills.standing()
    return next((one for one in standing if (one.scope, one.value) == ("agent", agent)), None)
