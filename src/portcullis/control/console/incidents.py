"""Incidents: the list, opening one, and one of them with the form of the step that is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.console.addresses import linked
from portcullis.control.console.asked import asked, number
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.render import Pages
from portcullis.control.entries import JoinToken
from portcullis.control.incidents import Incidents
from portcullis.control.incidents_api import LONGEST_DAYS, NOTE, IncidentRequest
from portcullis.control.incidents_approving import binding_of
from portcullis.core.errors import Problem
from portcullis.core.incident import (
    ORDER,
    TRANSITIONS,
    Incident,
    Phase,
    Source,
    Step,
    Subject,
)
from portcullis.core.rights import Right

FILTERS: Final = frozenset({"state", "subject"})
STATES: Final = ("unresolved", "all")
PLACE: Final = "/incidents"
_NEW: Final = frozenset({"agent", "session", "alert", "playbook"})
_PAGE: Final = 50
_LISTED: Final = 50
"""How many findings stand on one page, and how many notes; it says how many more there are."""
_HINT: Final = "Name an agent or a session, and say why in one line of at most 200 characters."


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentPages:
    """The list, the form that opens one, and the page of one."""

    doors: Doors
    pages: Pages
    incidents: Incidents

    def routes(self) -> list[Route]:
        """All of them. What the forms of an incident are sent to is in ``incident_steps``."""
        doors = self.doors
        return [
            doors.page(PLACE, self._list, query=FILTERS | {"cursor"}),
            doors.page(f"{PLACE}/new", self._new, right=Right.INCIDENTS_LEAD, query=_NEW),
            doors.form(PLACE, self._open, right=Right.INCIDENTS_LEAD),
            doors.page(f"{PLACE}/{{id}}", self._show, query=frozenset({"findings"})),
        ]

    async def _list(self, request: Request, visitor: Visitor) -> Response:
        query = request.query_params
        given = {name: query[name] for name in sorted(FILTERS) if query.get(name)}
        if given.get("state", STATES[0]) not in STATES:
            raise Problem("PC1020", "state: it is unresolved or all")
        cursor = query.get("cursor", "")
        found = await self.incidents.list(
            unresolved=given.get("state", STATES[0]) == STATES[0],
            subject=given.get("subject", ""),
            before=cursor,
            limit=_PAGE,
        )
        kind, _, name = given.get("subject", "").partition(":")
        return self.pages.render(
            request,
            visitor,
            "incidents.html",
            rows=found,
            about=linked({kind: name}) if kind in {"agent", "session"} else "",
            given=given,
            states=STATES,
            leads=visitor.may(Right.INCIDENTS_LEAD),
            cursor=cursor,
            first=linked(given),
            following=linked(given, cursor=found[-1].id) if len(found) == _PAGE else "",
        )

    async def _new(self, request: Request, visitor: Visitor) -> Response:
        return await self._form(request, visitor, request.query_params)

    async def _form(
        self,
        request: Request,
        visitor: Visitor,
        form: Mapping[str, str],
        problem: Problem | None = None,
    ) -> Response:
        return self.pages.render(
            request,
            visitor,
            "incident_new.html",
            status=200 if problem is None else problem.status,
            playbooks=self.incidents.playbooks,
            form=form,
            problem=problem,
        )

    async def _open(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        names = ("agent", "session", "reason", "playbook", "containing", "since_days", "alert")
        only(form, *names)
        try:
            wanted: dict[str, Any] = {name: form[name].strip() for name in names if form.get(name)}
            if "since_days" in wanted:
                wanted["since_days"] = number("since_days", wanted["since_days"])
            body = asked(IncidentRequest, wanted, _HINT)
            made = await self.incidents.open(
                visitor.context,
                Subject(agent=body.agent or "", session=body.session or ""),
                body.reason,
                playbook=body.playbook or "",
                source=Source(kind="alert", id=body.alert) if body.alert else Source(),
                since_days=body.since_days or 0,
                containing=body.containing,
            )
        except Problem as problem:
            return await self._form(request, visitor, form, self.doors.record(request, problem))
        return RedirectResponse(f"{PLACE}/{made.id}", status_code=303)

    async def _show(self, request: Request, visitor: Visitor) -> Response:
        return await self.page(request, visitor)

    async def page(
        self,
        request: Request,
        visitor: Visitor,
        problem: Problem | None = None,
        *,
        form: Mapping[str, str] | None = None,
        token: JoinToken | None = None,
    ) -> Response:
        """The page of an incident; with what was wrong, or the token of a new identity."""
        found = await self.incidents.show(request.path_params["id"])
        due, playbook = found.due, self.incidents.playbook_of(found)
        page = number("findings", request.query_params.get("findings", "0"))
        judged = sorted(found.findings or (), key=lambda one: bool(one.verdict))
        return self.pages.render(
            request,
            visitor,
            "incident.html",
            status=200 if problem is None else problem.status,
            incident=found,
            due=due,
            begun=due is not None and found.step(due) is not None,
            way=_way(found),
            guidance=playbook.step(due).guidance if due is not None else "",
            playbook=playbook,
            rules=await self.incidents.rules(visitor.context, found),
            hindrance=await self.incidents.hindrance(visitor.context, found),
            binding=binding_of(found.asked) if found.asked is not None else "",
            unticked=self.incidents.unticked(found, due) if due is not None else {},
            checklist={
                item: text for one in playbook.steps for item, text in one.checklist.items()
            },
            findings=judged[page * _LISTED : (page + 1) * _LISTED],
            page=page,
            further=len(judged) > (page + 1) * _LISTED,
            credentials=sorted(found.credentials or (), key=lambda one: one.settled),
            notes=found.notes[-_LISTED:],
            earlier=max(len(found.notes) - _LISTED, 0),
            leads=visitor.may(Right.INCIDENTS_LEAD),
            approves=visitor.may(Right.INCIDENTS_APPROVE),
            administers=visitor.may(Right.INCIDENTS_CLOSE),
            closes=(found.phase, Step.CLOSE) in TRANSITIONS,
            stands=(found.phase, Step.STAND_DOWN) in TRANSITIONS,
            longest_days=LONGEST_DAYS,
            longest_note=NOTE,
            problem=problem,
            form=form or {},
            token=token,
        )


@dataclass(frozen=True, slots=True)
class Way:
    """A step on the way through: ``state`` is ``done``, ``due`` or ``later``."""

    step: Step
    state: str
    name: str


_NAMES: Final = {
    Step.CONTAIN: "Contain",
    Step.REVOKE: "Revoke its identity",
    Step.ROTATE: "Rotate credentials",
    Step.REAUDIT: "Re-audit its history",
    Step.REINSTATE: "Reinstate",
    Step.CLOSE: "Close",
    Step.STAND_DOWN: "Stand down",
}


def _way(found: Incident) -> tuple[Way, ...]:
    """The steps in their order, with the end that it took."""
    last = Step.CLOSE if found.phase is Phase.CLOSED or found.subject.session else ORDER[-1]
    steps = [*ORDER[:-1], last]
    if found.phase is Phase.STOOD_DOWN:
        steps = [one for one in steps if found.step(one) is not None] + [Step.STAND_DOWN]
    ways = []
    for one in steps:
        done = found.step(one)
        ended = done is not None and done.ended_at > 0
        state = "done" if ended else "due" if one is found.due else "later"
        ways.append(Way(one, state, _NAMES[one]))
    return tuple(ways)
