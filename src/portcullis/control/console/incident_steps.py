"""What the forms of an incident's page are sent to: the same services as the API's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.console.asked import asked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.incidents import PLACE, IncidentPages
from portcullis.control.console.reasons import reason_of, typed
from portcullis.control.incidents import Incidents
from portcullis.control.incidents_api import (
    CredentialRequest,
    FindingRequest,
    NoteRequest,
    ReinstateRequest,
    TickRequest,
)
from portcullis.core.errors import Problem
from portcullis.core.rights import Right

_GONE: Final = "PC7060"
_HINT: Final = "Say why in one line of at most 200 characters: it stands in the log."
_NOTED: Final = "A note is text of at most 2000 characters."

Acting: TypeAlias = Callable[[Visitor, str, Mapping[str, str]], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSteps:
    """The forms. Each takes what its page shows and leads back to it."""

    doors: Doors
    incidents: Incidents
    page: IncidentPages

    def routes(self) -> list[Route]:
        """All of them, for the rights of the API."""
        plain = ("reason",)
        incidents = self.incidents
        return [
            *(
                self._form(f"steps/{name}", Right.INCIDENTS_LEAD, plain, self._why(act))
                for name, act in (
                    ("contain", incidents.contain),
                    ("revoke", incidents.revoke),
                    ("rotate", incidents.rotate),
                    ("reaudit", incidents.reaudit),
                )
            ),
            self._form(
                "credentials",
                Right.INCIDENTS_LEAD,
                ("reference", "how", "reason"),
                self._credential,
            ),
            self._form(
                "findings", Right.INCIDENTS_LEAD, ("finding", "verdict", "reason"), self._finding
            ),
            self._form("checklist", Right.INCIDENTS_LEAD, ("item", "reason"), self._tick),
            self._form("notes", Right.INCIDENTS_LEAD, ("text",), self._note),
            self._form("approve", Right.INCIDENTS_APPROVE, ("binding", "reason"), self._approve),
            self._form("close", Right.INCIDENTS_CLOSE, ("typed", "reason"), self._close),
            self._form("stand-down", Right.INCIDENTS_CLOSE, plain, self._why(incidents.stand_down)),
            self.doors.form(
                f"{PLACE}/{{id}}/reinstate", self._reinstate, right=Right.INCIDENTS_CLOSE
            ),
        ]

    def _form(self, path: str, right: Right, names: tuple[str, ...], act: Acting) -> Route:
        async def sent(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
            only(form, *names)
            incident = request.path_params["id"]
            try:
                await act(visitor, incident, form)
            except Problem as problem:
                return await self._told(request, visitor, form, problem)
            return RedirectResponse(f"{PLACE}/{incident}#due", status_code=303)

        return self.doors.form(f"{PLACE}/{{id}}/{path}", sent, right=right)

    def _why(self, act: Callable[..., Awaitable[object]]) -> Acting:
        """What takes nothing but a reason."""

        async def done(visitor: Visitor, incident: str, form: Mapping[str, str]) -> object:
            return await act(visitor.context, incident, reason_of(form))

        return done

    async def _credential(self, visitor: Visitor, incident: str, form: Mapping[str, str]) -> object:
        body = asked(CredentialRequest, _said(form), _HINT)
        do = self.incidents.rotate_one if body.how == "rotate" else self.incidents.settle
        return await do(visitor.context, incident, body.reference, body.reason)

    async def _finding(self, visitor: Visitor, incident: str, form: Mapping[str, str]) -> object:
        body = asked(FindingRequest, _said(form), _HINT)
        return await self.incidents.judge(
            visitor.context, incident, body.finding, body.verdict, body.reason
        )

    async def _tick(self, visitor: Visitor, incident: str, form: Mapping[str, str]) -> object:
        body = asked(TickRequest, _said(form), _HINT)
        return await self.incidents.tick(visitor.context, incident, body.item, body.reason)

    async def _note(self, visitor: Visitor, incident: str, form: Mapping[str, str]) -> object:
        text = form.get("text", "").replace("\r\n", "\n").strip()
        body = asked(NoteRequest, {"text": text}, _NOTED)
        return await self.incidents.note(visitor.context, incident, body.text)

    async def _close(self, visitor: Visitor, incident: str, form: Mapping[str, str]) -> object:
        found = await self.incidents.show(incident)
        typed(form, found.subject.value, "whom it is about")
        return await self.incidents.close(visitor.context, incident, reason_of(form))

    async def _approve(self, visitor: Visitor, incident: str, form: Mapping[str, str]) -> object:
        """Approve the proposal that the form was made for, and no other."""
        reason, shown = reason_of(form), form.get("binding", "")
        return await self.incidents.approve(visitor.context, incident, reason, shown)

    async def _reinstate(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        """Propose it, or do it: then the page has the token of the new identity, this once.

        It does what was approved when the form was made, and a form that proposes only proposes.
        """
        only(form, "reason", "days", "factor", "binding")
        try:
            body = asked(ReinstateRequest, _probation(form), _HINT)
            _, token = await self.incidents.reinstate(
                visitor.context,
                request.path_params["id"],
                body.reason,
                days=body.days or 0,
                factor=body.factor or 0.0,
                binding=form.get("binding", ""),
            )
        except Problem as problem:
            return await self._told(request, visitor, form, problem)
        if token is None:
            return RedirectResponse(f"{PLACE}/{request.path_params['id']}#due", status_code=303)
        return await self.page.page(request, visitor, token=token)

    async def _told(
        self, request: Request, visitor: Visitor, form: Mapping[str, str], problem: Problem
    ) -> Response:
        """The incident as it stands, with what was wrong."""
        if problem.code == _GONE:
            raise problem
        told = self.doors.record(request, problem)
        return await self.page.page(request, visitor, told, form=form)


def _said(form: Mapping[str, str]) -> dict[str, Any]:
    return {name: value.strip() for name, value in form.items() if name != "csrf" and value.strip()}


def _probation(form: Mapping[str, str]) -> dict[str, Any]:
    """The fields with their numbers. Raises Problem PC1020."""
    wanted = {name: text for name, text in _said(form).items() if name != "binding"}
    for name, made in (("days", int), ("factor", float)):
        if name in wanted:
            try:
                wanted[name] = made(wanted[name])
            except ValueError:
                raise Problem("PC1020", f"{name}: it is no number") from None
    return wanted
