"""What agents may: the last review, its findings, the releases, and access reviews by form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.alerts import Alerting
from portcullis.control.certifying import Certifying
from portcullis.control.certifying_api import GRANT
from portcullis.control.console.asked import number
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.reasons import reason_of
from portcullis.control.console.render import Pages
from portcullis.control.drifts import drifts
from portcullis.control.releases import Releasing
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.release import Stage
from portcullis.core.rights import Right
from portcullis.review.grants import SEVERITIES, AgentSets, Report, sets_of

MOST: Final = 200
"""How many agents, and findings, stand on a page; it says how many more there are."""
_RELEASES: Final = 10
_COMING: Final = frozenset({Stage.PROPOSED, Stage.APPROVED, Stage.SHADOW, Stage.CANARY})
_CERTIFIES: Final = Right.ACCESS_CERTIFY
_REVOKES: Final = Right.ACCESS_REVOKE
_SHOWN: Final = frozenset({"PC1020", "PC3087", "PC7035", "PC7045", "PC7047", "PC7048", "PC7049"})
_YES: Final = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPages:
    """The page of the whole policy, and one for each of its agents."""

    doors: Doors
    pages: Pages
    certifying: Certifying
    releasing: Releasing
    alerting: Alerting

    def routes(self) -> list[Route]:
        """The pages and their forms."""
        doors = self.doors
        return [
            doors.page("/policy", self._all),
            doors.form("/policy/review", self._review, right=_CERTIFIES),
            doors.page("/policy/agents/{name}", self._one),
            doors.form("/policy/agents/{name}/confirm", self._confirm, right=_CERTIFIES),
            doors.form("/policy/agents/{name}/revoke", self._revoke, right=_REVOKES),
        ]

    async def _all(self, request: Request, visitor: Visitor) -> Response:
        report = await self._report()
        releases = (await self.releasing.list())[:_RELEASES]
        agents = () if report is None else _late_first(report)
        return self.pages.render(
            request,
            visitor,
            "policy.html",
            report=report,
            severities=SEVERITIES,
            findings=() if report is None else report.findings[:MOST],
            agents=agents[:MOST],
            more=max(len(agents) - MOST, 0),
            releases=releases,
            drifts=await drifts(self.alerting, self.releasing),
            needed=self.releasing.needed,
            binding=self.releasing.binding,
            may=visitor.may(_CERTIFIES),
        )

    async def _review(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        del request
        only(form)
        await self.certifying.review(visitor.context)
        return RedirectResponse("/policy", status_code=303)

    async def _one(self, request: Request, visitor: Visitor) -> Response:
        return await self._agent(request, visitor)

    async def _agent(
        self,
        request: Request,
        visitor: Visitor,
        problem: Problem | None = None,
        form: Mapping[str, str] | None = None,
        patch: str = "",
    ) -> Response:
        name = request.path_params["name"]
        report = await self._report()
        sets = None if report is None else sets_of(report, name)
        if report is None or sets is None:
            raise Problem("PC7049", "the policy in force has no agent of this name")
        return self.pages.render(
            request,
            visitor,
            "policy_agent.html",
            status=200 if problem is None else problem.status,
            report=report,
            sets=sets,
            classes=_classes(sets),
            findings=[one for one in report.findings if name in one.agents],
            coming=[o for o in await self.releasing.list() if o.stage in _COMING][:_RELEASES],
            drifts=[o for o in await drifts(self.alerting, self.releasing) if o.agent == name],
            history=await self.certifying.history(name),
            may=visitor.may(_CERTIFIES),
            owner=await self.certifying.owner(name),
            hindrance=await self.certifying.hindrance(visitor.context, name),
            revokes=visitor.may(_REVOKES),
            binding=self.releasing.binding,
            problem=problem,
            form=form or {},
            patch=patch,
        )

    async def _confirm(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "release", "reason")
        name = request.path_params["name"]
        try:
            release = number("release", form.get("release", ""))
            await self.certifying.confirm(visitor.context, name, release, reason_of(form))
        except Problem as problem:
            return await self._again(request, visitor, problem, form)
        return RedirectResponse(f"/policy/agents/{name}", status_code=303)

    async def _revoke(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "grant", "reason", "for_all")
        name, grant = request.path_params["name"], form.get("grant", "")
        try:
            if re.fullmatch(GRANT, grant) is None:
                raise Problem("PC1020", "grant: it is no rule of a grant")
            everybody = form.get("for_all") == _YES
            _, revoked = await self.certifying.revoke(
                visitor.context, name, grant, reason_of(form), everybody=everybody
            )
        except Problem as problem:
            return await self._again(request, visitor, problem, form)
        if revoked.release:
            return RedirectResponse(f"/policy/releases/{revoked.release}", status_code=303)
        return await self._agent(request, visitor, patch=revoked.patch)

    async def _again(
        self, request: Request, visitor: Visitor, problem: Problem, form: Mapping[str, str]
    ) -> Response:
        """The page again with what was wrong, and what had been filled in."""
        if problem.code not in _SHOWN:
            raise problem
        return await self._agent(request, visitor, self.doors.record(request, problem), form)

    async def _report(self) -> Report | None:
        """The last review; None before there is a policy to review."""
        try:
            return await self.certifying.agents()
        except Problem as problem:
            if problem.code != "PC7030":
                raise
            return None


def _late_first(report: Report) -> tuple[AgentSets, ...]:
    """Those whose review is due first, then by name."""
    return tuple(sorted(report.agents, key=lambda one: (not 0 < one.due <= report.at, one.agent)))


def _classes(sets: AgentSets) -> list[tuple[str, int]]:
    found = [(risk.value, sum(tool.risk is risk for tool in sets.effective)) for risk in RiskClass]
    return [pair for pair in found if pair[1]]
