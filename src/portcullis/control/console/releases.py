"""Releases of policy: what each changes, how it is tried, and the forms that move it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.comparing import REPLAY_SECONDS, Comparing
from portcullis.control.console.asked import number
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.reasons import reason_of
from portcullis.control.console.render import Pages
from portcullis.control.releases import PAGE, Releasing
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.release import MAX_SHARE, TRANSITIONS, Release, Stage, Standing, Untested, Verb
from portcullis.core.rights import Right
from portcullis.review.changes import Changes
from portcullis.review.changes_apart import Replayed

RIGHTS: Final = {
    Verb.APPROVE: Right.RELEASES_APPROVE,
    Verb.REJECT: Right.RELEASES_APPROVE,
    Verb.SHADOW: Right.RELEASES_ACTIVATE,
    Verb.CANARY: Right.RELEASES_ACTIVATE,
    Verb.ACTIVATE: Right.RELEASES_ACTIVATE,
    Verb.ROLL_BACK: Right.RELEASES_ROLLBACK,
}
"""What operators do to a release, each with the right that its twin at the API takes."""
FIELDS: Final = {
    Verb.APPROVE: ("reason", "active"),
    Verb.REJECT: ("reason",),
    Verb.SHADOW: (),
    Verb.CANARY: ("share", "active"),
    Verb.ACTIVATE: ("active", "typed"),
    Verb.ROLL_BACK: ("reason",),
}
DAYS: Final = (1, 7, 30, 90)
"""How far back a replay may look; else over all of the log."""
_DAY: Final = 86_400.0
_DIFFERENCES: Final = 100
_LOOK_AGAIN: Final = "Another release came into force meanwhile: look at what this one changes now."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePages:
    """The list, one release, and what its forms are sent to."""

    doors: Doors
    pages: Pages
    releasing: Releasing
    comparing: Comparing
    clock: Clock

    def routes(self) -> list[Route]:
        """All of them."""
        doors = self.doors
        return [
            doors.page("/policy/releases", self._list),
            doors.page(
                "/policy/releases/{number}", self._one, query=frozenset({"against", "agent"})
            ),
            doors.form("/policy/releases/{number}/replay", self._replay, right=Right.LOOK),
            *map(self._moving, RIGHTS),
        ]

    async def _list(self, request: Request, visitor: Visitor) -> Response:
        releases = await self.releasing.list()
        return self.pages.render(
            request,
            visitor,
            "releases.html",
            releases=releases,
            whole=len(releases) < PAGE,
            needed=self.releasing.needed,
            binding=self.releasing.binding,
        )

    async def _one(self, request: Request, visitor: Visitor) -> Response:
        against = request.query_params.get("against", "")
        return await self._page(request, visitor, number("against", against) if against else 0)

    def _moving(self, verb: Verb) -> Route:
        async def moved(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
            only(form, *FIELDS[verb])
            release = number("release", request.path_params["number"])
            try:
                if "active" in FIELDS[verb]:
                    await self._same(form)
                await self._move(visitor, verb, release, form)
            except Problem as problem:
                return await self._again(request, visitor, problem, form)
            return RedirectResponse(f"/policy/releases/{release}", status_code=303)

        return self.doors.form(f"/policy/releases/{{number}}/{verb}", moved, right=RIGHTS[verb])

    async def _move(
        self, visitor: Visitor, verb: Verb, release: int, form: Mapping[str, str]
    ) -> None:
        releasing, context = self.releasing, visitor.context
        match verb:
            case Verb.APPROVE:
                await releasing.approve(context, release, reason_of(form))
            case Verb.REJECT:
                await releasing.reject(context, release, reason_of(form))
            case Verb.SHADOW:
                await releasing.shadow(context, release)
            case Verb.CANARY:
                share = number("share", form.get("share", ""))
                await releasing.canary(context, release, share)
            case Verb.ACTIVATE:
                if form.get("typed", "").strip() != str(release):
                    hint = "Type the number of the release that is to take force."
                    raise Problem("PC3054", "what was typed is not this release", hint=hint)
                await releasing.activate(context, release)
            case _:
                await releasing.rollback(context, release, reason_of(form))

    async def _same(self, form: Mapping[str, str]) -> None:
        """Raise Problem PC3055 when what the page compared with is not in force any more."""
        active = (await self.releasing.standing()).active
        if form.get("active", "") != str(active.number if active else 0):
            raise Problem("PC3055", "it was held against another release", hint=_LOOK_AGAIN)

    async def _replay(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "against", "days", "agent")
        release = await self._found(request)
        against = number("against", form.get("against", ""))
        try:
            since = self._since(form.get("days", ""))
            agents = frozenset(filter(None, (form.get("agent", "").strip(),)))
            base, _ = await self.releasing.show(against)
            replayed = await self.comparing.replay(base, release, since, agents)
        except Problem as problem:
            return await self._again(request, visitor, problem, form, against)
        return await self._page(request, visitor, against, form=form, replayed=replayed)

    def _since(self, days: str) -> float | None:
        """From when on the log is looked at; None for all of it. Raises Problem PC1020."""
        if not days:
            return None
        if number("days", days) not in DAYS:
            raise Problem("PC1020", f"days: it is one of {', '.join(map(str, DAYS))}, or empty")
        return self.clock.now() - int(days) * _DAY

    async def _again(
        self,
        request: Request,
        visitor: Visitor,
        problem: Problem,
        form: Mapping[str, str],
        against: int = 0,
    ) -> Response:
        """The page again with what was wrong, and what had been filled in."""
        if problem.code == "PC7030":
            raise problem
        told = self.doors.record(request, problem)
        return await self._page(request, visitor, against, problem=told, form=form)

    async def _page(
        self,
        request: Request,
        visitor: Visitor,
        against: int = 0,
        *,
        problem: Problem | None = None,
        form: Mapping[str, str] | None = None,
        replayed: Replayed | None = None,
    ) -> Response:
        release = await self._found(request)
        _, tallies = await self.releasing.show(release.number)
        standing = await self.releasing.standing()
        base = await self._base(release, standing.active, against)
        changes, unknown = await self._changes(base, release)
        return self.pages.render(
            request,
            visitor,
            "release.html",
            status=200 if problem is None else problem.status,
            release=release,
            needed=self.releasing.needed,
            binding=self.releasing.binding,
            standing=standing,
            base=base,
            changes=changes,
            unknown=unknown,
            tallies=tallies,
            differences=sorted(tallies.differences.items(), key=lambda one: -one[1])[:_DIFFERENCES],
            may={verb.value: self._may(visitor, release, verb, standing) for verb in RIGHTS},
            rules=await self.releasing.rules(visitor.context, release.number),
            untested=await self._untested(visitor, release),
            hindrance=await self._hindrance(visitor, release),
            share=MAX_SHARE,
            days=DAYS,
            about=request.query_params.get("agent", ""),
            seconds=int(REPLAY_SECONDS),
            replayed=replayed,
            problem=problem,
            form=form or {},
        )

    def _may(self, visitor: Visitor, release: Release, verb: Verb, standing: Standing) -> bool:
        """Whether there is a form for it: the gate judges again when it is sent."""
        if not visitor.may(RIGHTS[verb]) or (release.stage, verb) not in TRANSITIONS:
            return False
        enough = len(release.approvals) >= self.releasing.needed
        match verb:
            case Verb.CANARY:
                return enough
            case Verb.ACTIVATE:
                return enough and self.releasing.binding
            case Verb.ROLL_BACK if release.stage is Stage.ACTIVE:
                back = standing.back is not None and not standing.restored
                return self.releasing.binding and back
            case _:
                return True

    async def _hindrance(self, visitor: Visitor, release: Release) -> Problem | None:
        """Why there is no form to approve it; None for who has no business with that anyway."""
        if not visitor.may(RIGHTS[Verb.APPROVE]):
            return None
        return await self.releasing.hindrance(visitor.context, release.number)

    async def _untested(self, visitor: Visitor, release: Release) -> tuple[Untested, ...]:
        """What a canary leaves out, for who may start one."""
        if not visitor.may(RIGHTS[Verb.CANARY]):
            return ()
        return await self.releasing.untested(release.number)

    async def _changes(
        self, base: Release | None, release: Release
    ) -> tuple[Changes | None, Problem | None]:
        """What it changes; or why nobody can say that."""
        if base is None:
            return None, None
        try:
            return await self.comparing.changes(base, release), None
        except Problem as problem:
            return None, problem

    async def _found(self, request: Request) -> Release:
        release, _ = await self.releasing.show(number("release", request.path_params["number"]))
        return release

    async def _base(self, release: Release, active: Release | None, against: int) -> Release | None:
        """What it is held against: what was asked for, the release in force, or that before it."""
        if against:
            return (await self.releasing.show(against))[0]
        if not release.active_at:
            return active
        before = [
            one for one in await self.releasing.list() if 0 < one.active_at < release.active_at
        ]
        return max(before, key=lambda one: one.active_at, default=None)
