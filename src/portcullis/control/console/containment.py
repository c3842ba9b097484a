"""Who is cut off or isolated now, by whom and why; and the forms that do so and take it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.console.addresses import linked
from portcullis.control.console.asked import asked, number
from portcullis.control.console.cutting import PLACE, Cutting
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.reasons import reason_of, typed
from portcullis.control.console.render import Pages
from portcullis.control.incidents import Incidents
from portcullis.control.kills import Kills
from portcullis.control.kills_api import KillRequest, UndoRequest
from portcullis.control.outcomes import Outcome, Outcomes, Verb
from portcullis.control.quarantine import Quarantining
from portcullis.control.quarantine_api import QuarantineRequest
from portcullis.core.desk import AgentsWanted
from portcullis.core.errors import Problem
from portcullis.core.feed import EVERYONE, Kept
from portcullis.core.lifecycle import State
from portcullis.core.ports import Clock
from portcullis.core.rights import Right
from portcullis.core.session_ports import SessionState

EVERYBODY: Final = "everybody"
"""What is typed to kill everybody."""
QUERY: Final = frozenset({"agent", "session", "done", "page"})
_PAGE: Final = 50
_BESIDE: Final = 20
_TYPED: Final = frozenset({"role", "all"})
_HINT: Final = (
    "Name an agent, a session by its id, or a role: letters, digits, -, _ and . alone; and say why "
    "in one line of at most 200 characters."
)


@dataclass(frozen=True, slots=True)
class Row:
    """Somebody who is cut off or isolated, and what the gateways said of it, where it is known."""

    kept: Kept
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentPages:
    """The page, and what its forms are sent to."""

    doors: Doors
    pages: Pages
    activity: Activity
    kills: Kills
    quarantining: Quarantining
    cutting: Cutting
    outcomes: Outcomes
    incidents: Incidents
    sessions: SessionState
    clock: Clock

    def routes(self) -> list[Route]:
        """All of them."""
        doors = self.doors
        return [
            doors.page(PLACE, self._show, query=QUERY),
            doors.form(f"{PLACE}/kill", self._kill, right=Right.KILL),
            doors.form(f"{PLACE}/undo", self._undo, right=Right.KILL_LIFT),
            doors.form(f"{PLACE}/quarantine", self._isolate, right=Right.QUARANTINE),
            doors.form(f"{PLACE}/release", self._release, right=Right.QUARANTINE_LIFT),
        ]

    async def _show(self, request: Request, visitor: Visitor) -> Response:
        return await self._page(request, visitor)

    async def _page(
        self,
        request: Request,
        visitor: Visitor,
        problem: Problem | None = None,
        form: Mapping[str, str] | None = None,
        sent: str = "",
    ) -> Response:
        query, page = request.query_params, number("page", request.query_params.get("page", "0"))
        standing = await self.cutting.all()
        told = self.outcomes.get(query.get("done", ""))
        cut = {
            state: (await self.activity.agents(AgentsWanted(state=state), "", _BESIDE)).agents
            for state in (State.SUSPENDED, State.REVOKED)
        }
        some = standing[page * _PAGE : (page + 1) * _PAGE]
        return self.pages.render(
            request,
            visitor,
            "containment.html",
            status=200 if problem is None else problem.status,
            rows=[Row(one, self._said(one)) for one in some],
            page=page,
            following=linked({"page": str(page + 1)}) if standing[(page + 1) * _PAGE :] else "",
            cut=cut,
            agent=query.get("agent", ""),
            session=query.get("session", ""),
            told=told,
            holds=told is not None and _holds(told, standing),
            unknown=(
                told is not None
                and (told.verb, told.scope) == ("killed", "session")
                and not self.sessions.is_open(told.value)
            ),
            may={
                "cut": visitor.may(Right.KILL),
                "isolate": visitor.may(Right.QUARANTINE),
                "undo": visitor.may(Right.KILL_LIFT),
                "release": visitor.may(Right.QUARANTINE_LIFT),
            },
            everybody=EVERYBODY,
            playbooks=self.incidents.playbooks if visitor.may(Right.INCIDENTS_LEAD) else (),
            problem=problem,
            form=form or {},
            sent=sent,
        )

    def _said(self, one: Kept) -> Outcome | None:
        return None if one.isolation else self.outcomes.of(one.scope, one.value)

    async def _kill(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, "scope", "value", "typed", "reason", "incident")
        try:
            body = asked(KillRequest, _said(form), _HINT)
            if body.scope in _TYPED:
                typed(form, body.value or EVERYBODY, "what it would cut off")
            if body.incident and not visitor.may(Right.INCIDENTS_LEAD):
                raise Problem("PC2004", f"an incident takes the right {Right.INCIDENTS_LEAD}")
            await self.kills.kill(
                visitor.context,
                body.scope,
                body.value or "",
                body.reason or "",
                body.incident or "",
            )
        except Problem as problem:
            return await self._told(request, visitor, form, problem, "kill")
        return self._back(body.scope, body.value or "")

    async def _undo(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, "scope", "value", "since", "reason")
        try:
            body = asked(UndoRequest, _said(form), _HINT)
            reason, value = reason_of(form), body.value or ""
            await self.cutting.expect(form, body.scope, value or EVERYONE)
            await self.kills.undo(visitor.context, body.scope, value, reason)
        except Problem as problem:
            return await self._told(request, visitor, form, problem, "undo")
        return self._back(body.scope, value)

    async def _isolate(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "scope", "value", "reason")
        try:
            body = asked(QuarantineRequest, _said(form), _HINT)
            await self.quarantining.begin(visitor.context, body.scope, body.value, reason_of(form))
        except Problem as problem:
            return await self._told(request, visitor, form, problem, "quarantine")
        return self._noted("isolated", body)

    async def _release(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "scope", "value", "since", "reason")
        try:
            body = asked(QuarantineRequest, _said(form), _HINT)
            reason = reason_of(form)
            await self.cutting.expect(form, body.scope, body.value, isolation=True)
            await self.quarantining.end(visitor.context, body.scope, body.value, reason)
        except Problem as problem:
            return await self._told(request, visitor, form, problem, "release")
        return self._noted("released", body)

    async def _told(
        self,
        request: Request,
        visitor: Visitor,
        form: Mapping[str, str],
        problem: Problem,
        sent: str,
    ) -> Response:
        """The page again, with what was wrong and what had been filled in, in the form ``sent``."""
        told = self.doors.record(request, problem)
        return await self._page(request, visitor, told, form, sent)

    def _back(self, scope: str, value: str) -> Response:
        """To the page, which says what came of it."""
        return back(self.outcomes.last(scope, value))

    def _noted(self, verb: Verb, body: QuarantineRequest) -> Response:
        return back(self.outcomes.note(verb, body.scope, body.value, self.clock.now()))


def _said(form: Mapping[str, str]) -> dict[str, str]:
    """What the API takes of a form."""
    names = ("scope", "value", "reason", "incident")
    return {name: form[name].strip() for name in names if form.get(name)}


def _holds(told: Outcome, standing: Sequence[Kept]) -> bool:
    """Whether it is still as it was told."""
    isolation = told.verb in {"isolated", "released"}
    whom = (told.scope, told.value or EVERYONE, isolation)
    stands = any((one.scope, one.value, one.isolation) == whom for one in standing)
    return stands == (told.verb in {"killed", "isolated"})


def back(told: Outcome | None) -> Response:
    """To the page, which says what was done."""
    done = f"?done={told.number}" if told is not None else ""
    return RedirectResponse(f"{PLACE}{done}", status_code=303)
