"""One agent: how it behaves, what it did last, and what may be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.behaviour import Behaving, Stands
from portcullis.control.console.asked import asked
from portcullis.control.console.containment import back
from portcullis.control.console.cutting import Cutting
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.inbox import Filters, Row
from portcullis.control.console.live import Happening
from portcullis.control.console.reasons import reason_of, typed
from portcullis.control.console.render import Pages
from portcullis.control.console.sparkline import Sparkline
from portcullis.control.incidents import Incidents
from portcullis.control.kills import Kills
from portcullis.control.kills_api import KillRequest
from portcullis.control.outcomes import Outcomes
from portcullis.control.principals import Principals
from portcullis.core.behaviour import TRANSITIONS as PHASES
from portcullis.core.behaviour import Line, Phase
from portcullis.core.behaviour import Verb as Word
from portcullis.core.errors import Problem
from portcullis.core.incident import Subject
from portcullis.core.lifecycle import TRANSITIONS, State, Verb
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

SPANS: Final = {"24h": (3600.0, 24), "7d": (21_600.0, 28)}
"""What the drawing may be of: seconds of each bar, and how many."""
_RIGHTS: Final = {
    Verb.SUSPEND: Right.PRINCIPALS_CUT,
    Verb.REVOKE: Right.PRINCIPALS_CUT,
    Verb.RESUME: Right.PRINCIPALS_MANAGE,
}
_WORDS: Final = (Word.RATIFY, Word.RESET)
_LINES: Final = 200
_PHASES: Final = {
    Phase.LEARNING: "is being learned",
    Phase.RATIFIED: "was ratified",
    Phase.LOCKED: "is locked",
    Phase.DRIFTING: "has drifted away",
}
_SHOWN: Final = frozenset(
    {
        "PC1020",
        "PC3054",
        "PC3055",
        "PC4004",
        "PC2073",
        "PC3090",
        "PC3091",
        "PC3092",
        "PC3093",
        "PC7063",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPages:
    """The page of an agent, and the forms on it."""

    doors: Doors
    pages: Pages
    activity: Activity
    behaving: Behaving
    principals: Principals
    kills: Kills
    cutting: Cutting
    outcomes: Outcomes
    incidents: Incidents

    def routes(self) -> list[Route]:
        """The page, what may be done to the agent, and what may be said of its behaviour."""
        doors = self.doors
        return [
            doors.form("/agents/{name}/kill", self._kill, right=Right.KILL),
            doors.form("/agents/{name}/undo", self._undo, right=Right.KILL_LIFT),
            doors.page("/agents/{name}", self._show, query=frozenset({"span"})),
            *map(self._changing, _RIGHTS),
            *map(self._judging, _WORDS),
        ]

    async def _show(self, request: Request, visitor: Visitor) -> Response:
        return await self._page(request, visitor)

    async def _page(
        self, request: Request, visitor: Visitor, problem: Problem | None = None
    ) -> Response:
        name = request.path_params["name"]
        span = request.query_params.get("span") or "24h"
        if span not in SPANS:
            raise Problem("PC1020", "span: it is 24h or 7d")
        detail = await self.activity.agent(name)
        stands, usual = await self._behaviour(name)
        state = detail.agent.record.state
        against = await self.cutting.against(name, active=state is State.ACTIVE)
        return self.pages.render(
            request,
            visitor,
            "agent.html",
            status=200 if problem is None else problem.status,
            seen=detail.agent,
            observed=self.cutting.observed.until(name),
            record=detail.agent.record,
            waiting=[Row.of(one, Filters()) for one in detail.approvals],
            decisions=[Happening.seen(one) for one in detail.decisions],
            sessions=detail.sessions,
            may={
                verb.value: (state, verb) in TRANSITIONS and visitor.may(right)
                for verb, right in _RIGHTS.items()
            }
            | {
                "kill": against.killed is None and visitor.may(Right.KILL),
                "undo": against.killed is not None and visitor.may(Right.KILL_LIFT),
            },
            against=against,
            incident=await self.incidents.of(Subject(agent=name)),
            cuts=visitor.may(Right.KILL) or visitor.may(Right.QUARANTINE),
            leads=visitor.may(Right.INCIDENTS_LEAD),
            stands=stands,
            usual=usual[:_LINES],
            phases=_PHASES,
            words={
                word.value: stands is not None
                and (stands.standing.phase, word) in PHASES
                and visitor.may(Right.BEHAVIOUR_JUDGE)
                for word in _WORDS
            },
            spark=Sparkline.of(await self.activity.course(name, *SPANS[span])),
            span=span,
            spans=tuple(SPANS),
            problem=problem,
        )

    def _changing(self, verb: Verb) -> Route:
        async def changed(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
            only(form, *(("typed",) if verb is Verb.REVOKE else ()))
            name = request.path_params["name"]
            try:
                if verb is Verb.REVOKE:
                    typed(form, name, "the agent's name")
                await self.principals.change(visitor.context, PrincipalKind.AGENT, name, verb)
            except Problem as problem:
                return await self._told(request, visitor, problem)
            return _back(name)

        return self.doors.form(f"/agents/{{name}}/{verb}", changed, right=_RIGHTS[verb])

    def _judging(self, word: Word) -> Route:
        async def judged(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
            only(form, "reason")
            name = request.path_params["name"]
            said = self.behaving.ratify if word is Word.RATIFY else self.behaving.reset
            try:
                await said(visitor.context, name, reason_of(form))
            except Problem as problem:
                return await self._told(request, visitor, problem)
            return _back(name, "#behaviour")

        return self.doors.form(f"/agents/{{name}}/{word}", judged, right=Right.BEHAVIOUR_JUDGE)

    async def _told(self, request: Request, visitor: Visitor, problem: Problem) -> Response:
        """The page again with what was wrong; what the page could not show is raised on."""
        if problem.code not in _SHOWN:
            raise problem
        return await self._page(request, visitor, self.doors.record(request, problem))

    async def _kill(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form)
        name = asked(
            KillRequest, {"scope": "agent", "value": request.path_params["name"]}, ""
        ).value
        await self.kills.kill(visitor.context, "agent", name or "", "")
        return back(self.outcomes.last("agent", name or ""))

    async def _undo(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, "since", "reason")
        name = request.path_params["name"]
        try:
            reason = reason_of(form)
            await self.cutting.expect(form, "agent", name)
            await self.kills.undo(visitor.context, "agent", name, reason)
        except Problem as problem:
            return await self._told(request, visitor, problem)
        return _back(name)

    async def _behaviour(self, agent: str) -> tuple[Stands | None, tuple[Line, ...]]:
        """How it stands and what is usual for it; nothing of one that never did anything."""
        try:
            return await self.behaving.get(agent), await self.behaving.usual(agent)
        except Problem as problem:
            if problem.code != "PC3090":
                raise
            return None, ()


def _back(name: str, place: str = "") -> Response:
    return RedirectResponse(f"/agents/{name}{place}", status_code=303)
