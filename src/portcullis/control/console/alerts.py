"""Alerts: what was raised, and what operators do about it; silences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.alerts import Alerting
from portcullis.control.alerts_api import SilenceRequest
from portcullis.control.console.addresses import linked
from portcullis.control.console.asked import asked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.reasons import reason_of
from portcullis.control.console.render import Pages
from portcullis.control.drifts import RULE, drift
from portcullis.control.incidents_opening import agent_of
from portcullis.control.releases import Releasing
from portcullis.core.alert import UNRESOLVED, Alert, Level, State, Verb, Wanted
from portcullis.core.errors import Problem
from portcullis.core.rights import Right

FILTERS: Final = frozenset({"state", "level", "rule"})
ALL: Final = "all"
_PAGE: Final = 50
_UNITS: Final = {"minutes": 60, "hours": 3600, "days": 86_400}
_DIGITS: Final = 6
_HINT: Final = (
    "Name a rule, or some with *; each line about whom is NAME=VALUE, as the alert shows it; "
    "30 days is the longest."
)
_SHOWN: Final = frozenset({"PC1020", "PC8021", "PC8022", "PC8023"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPages:
    """The list, one alert, the silences, and what their forms are sent to."""

    doors: Doors
    pages: Pages
    alerting: Alerting
    activity: Activity
    releasing: Releasing

    def routes(self) -> list[Route]:
        """All of them."""
        doors = self.doors
        return [
            doors.page("/alerts", self._list, query=FILTERS | {"cursor"}),
            doors.page("/silences", self._silences, query=frozenset({"rule", "alert"})),
            doors.form("/silences", self._silence, right=Right.ALERTS_SILENCE),
            doors.form("/silences/{id}/end", self._end, right=Right.ALERTS_SILENCE),
            doors.page("/alerts/{id}", self._show),
            *map(self._settling, Verb),
        ]

    async def _list(self, request: Request, visitor: Visitor) -> Response:
        query = request.query_params
        given = {name: query[name] for name in sorted(FILTERS) if query.get(name)}
        cursor = query.get("cursor", "")
        found = await self.alerting.list(_wanted(given), cursor, _PAGE)
        following = linked(given, cursor=found[-1].id) if len(found) == _PAGE else ""
        about = {one.id: name for one in found if (name := _agent(one))}
        known = await self.activity.some(set(about.values())) if about else {}
        return self.pages.render(
            request,
            visitor,
            "alerts.html",
            rows=found,
            about={key: name for key, name in about.items() if name in known},
            given=given,
            states=(*State, ALL),
            levels=tuple(reversed(Level)),
            cursor=cursor,
            first=linked(given),
            following=following,
        )

    async def _show(self, request: Request, visitor: Visitor) -> Response:
        return await self._page(request, visitor)

    async def _page(
        self,
        request: Request,
        visitor: Visitor,
        problem: Problem | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        alert = await self.alerting.show(request.path_params["id"])
        name = _agent(alert)
        return self.pages.render(
            request,
            visitor,
            "alert.html",
            status=200 if problem is None else problem.status,
            alert=alert,
            drift=drift(alert, await self.releasing.list()) if alert.rule == RULE else None,
            agents=sorted(await self.activity.some([name])) if name else [],
            settles=visitor.may(Right.ALERTS_SETTLE) and alert.state in UNRESOLVED,
            leads=visitor.may(Right.INCIDENTS_LEAD),
            silences=visitor.may(Right.ALERTS_SILENCE),
            units=tuple(_UNITS),
            problem=problem,
            form=form or {},
        )

    def _settling(self, verb: Verb) -> Route:
        async def settled(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
            only(form, "reason")
            alert = request.path_params["id"]
            try:
                await self.alerting.settle(visitor.context, alert, verb, reason_of(form))
            except Problem as problem:
                if problem.code not in _SHOWN:
                    raise
                return await self._page(request, visitor, self.doors.record(request, problem), form)
            return RedirectResponse(f"/alerts/{alert}", status_code=303)

        return self.doors.form(f"/alerts/{{id}}/{verb}", settled, right=Right.ALERTS_SETTLE)

    async def _silences(self, request: Request, visitor: Visitor) -> Response:
        return await self._quiet(request, visitor)

    async def _quiet(
        self,
        request: Request,
        visitor: Visitor,
        problem: Problem | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        alert = request.query_params.get("alert", "")
        return self.pages.render(
            request,
            visitor,
            "silences.html",
            status=200 if problem is None else problem.status,
            rows=await self.alerting.silences(),
            rule=request.query_params.get("rule", ""),
            by=_lines(await self.alerting.show(alert)) if alert else "",
            may=visitor.may(Right.ALERTS_SILENCE),
            units=tuple(_UNITS),
            problem=problem,
            form=form or {},
        )

    async def _silence(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "rule", "by", "count", "unit", "reason")
        try:
            body = _silence_of(form)
            await self.alerting.silence(
                visitor.context, body.rule, body.matching, body.seconds, reason_of(form)
            )
        except Problem as problem:
            if problem.code not in _SHOWN:
                raise
            return await self._quiet(request, visitor, self.doors.record(request, problem), form)
        return RedirectResponse("/silences", status_code=303)

    async def _end(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, "reason")
        try:
            reason = reason_of(form)
            await self.alerting.unsilence(visitor.context, request.path_params["id"], reason)
        except Problem as problem:
            if problem.code not in _SHOWN:
                raise
            return await self._quiet(request, visitor, self.doors.record(request, problem), form)
        return RedirectResponse("/silences", status_code=303)


def _wanted(given: Mapping[str, str]) -> Wanted:
    """Which alerts an address means: what is not resolved, where it does not say. PC1020."""
    state, level = given.get("state", ""), given.get("level", "")
    if state not in ("", ALL, *State):
        raise Problem("PC1020", "state: there is no such state")
    if level not in ("", *Level):
        raise Problem("PC1020", "level: there is no such level")
    states = UNRESOLVED if not state else tuple(State) if state == ALL else (State(state),)
    return Wanted(states=states, level=Level(level) if level else None, rule=given.get("rule", ""))


def _agent(alert: Alert) -> str:
    """Whom it is about, or empty: never whom a caller named, in a tool's name for example."""
    return agent_of({name: one for name, one in alert.group.items() if name not in alert.hidden})


def _lines(alert: Alert) -> str:
    """Whom it is about, as the form for silences takes that: no more is silenced than that."""
    return "\n".join(
        f"{name}={value}"
        for name, value in alert.group.items()
        if name not in alert.hidden and value.isprintable() and value == value.strip()
    )


def _silence_of(form: Mapping[str, str]) -> SilenceRequest:
    """The silence that a form asks for, held to the API's own shape. Raises Problem PC1020.

    ``by`` has a field and its value on each line, as ``NAME=VALUE``.
    """
    matching: dict[str, Any] = {}
    for line in filter(None, map(str.strip, form.get("by", "").splitlines())):
        name, _, value = line.partition("=")
        matching[name.strip()] = value.strip()
    count, unit = form.get("count", ""), form.get("unit", "")
    whole = count.isascii() and count.isdigit() and len(count) <= _DIGITS and unit in _UNITS
    wanted = {
        "rule": form.get("rule", "").strip(),
        "matching": matching,
        "seconds": int(count) * _UNITS[unit] if whole else 0,
        "reason": form.get("reason", "").strip(),
    }
    return asked(SilenceRequest, wanted, _HINT)
