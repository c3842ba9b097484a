"""Breaking the glass in a browser: who did, taking the rights, ending them, and the review."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.break_glass import BreakingGlass
from portcullis.control.break_glass_api import BreakGlassRequest, ReviewGlassRequest
from portcullis.control.console import cookie
from portcullis.control.console.asked import asked, number
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import HOME, only
from portcullis.control.console.passkeys import PasskeyKeeping, PasskeyLogins
from portcullis.control.console.reasons import reason_of
from portcullis.control.console.relying import RelyingParty
from portcullis.control.console.render import Pages
from portcullis.control.edge import source_of
from portcullis.control.login import Locked, Logins
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.rights import Right
from portcullis.identity.tokens import CONSOLE, Minted
from portcullis.wire.json import encode

GLASS: Final = "/glass"
_HINT: Final = "Say why in one line, and for how many minutes; and type both secrets."
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassPages:
    """Whoever takes more rights shows anew who he is: by password and code, or by a passkey.

    What comes of it is another login of the console, which ends with the rights.
    """

    doors: Doors
    pages: Pages
    breaking: BreakingGlass
    logins: Logins
    showing: PasskeyLogins
    keeping: PasskeyKeeping
    clock: Clock
    passkeys_required: bool

    def routes(self) -> list[Route]:
        """The page and its forms."""
        doors = self.doors
        return [
            doors.page(GLASS, self._page),
            doors.form(f"{GLASS}/begin", self._password, right=Right.LOOK),
            doors.form(f"{GLASS}/passkey/begin", self._options, right=Right.LOOK),
            doors.form(f"{GLASS}/passkey", self._passkey, right=Right.LOOK),
            doors.form(f"{GLASS}/end", self._end, right=Right.LOOK),
            doors.form(f"{GLASS}/review", self._review, right=Right.GLASS_REVIEW),
        ]

    async def _page(self, request: Request, visitor: Visitor) -> Response:
        return await self._shown(request, visitor)

    async def _shown(
        self,
        request: Request,
        visitor: Visitor,
        problem: Problem | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        origin = self.doors.origin(request)
        return self.pages.render(
            request,
            visitor,
            "glass.html",
            status=200 if problem is None else problem.status,
            broken=await self.breaking.list(),
            offer=await self.breaking.offered(visitor.context),
            secrets=self.keeping.allowed(visitor),
            required=self.passkeys_required,
            passkeys=RelyingParty(origin).possible and bool(await self.keeping.of(visitor)),
            ends=visitor.may(Right.PRINCIPALS_CUT),
            reviews=visitor.may(Right.GLASS_REVIEW) and not visitor.context.principal.break_glass,
            problem=problem,
            form=form or {},
        )

    async def _password(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "reason", "minutes", "password", "code")
        try:
            wanted = {
                "name": visitor.name,
                "password": form.get("password", ""),
                "code": form.get("code", "").replace(" ", ""),
                "reason": reason_of(form),
                "minutes": number("minutes", form.get("minutes", "")),
            }
            said = asked(BreakGlassRequest, wanted, _HINT)
        except Problem as problem:
            return await self._shown(request, visitor, self.doors.record(request, problem), form)
        try:
            await self.logins.password(
                said.name, said.password, said.code, source=source_of(request), audience=CONSOLE
            )
        except Problem as problem:  # recorded where it was raised
            answer = await self._shown(request, visitor, problem, form)
            if isinstance(problem, Locked):
                answer.headers["retry-after"] = str(problem.seconds)
            return answer
        try:
            minted = await self._begun(visitor, said.reason, said.minutes)
        except Problem as problem:
            return await self._shown(request, visitor, self.doors.record(request, problem), form)
        return self._in(request, RedirectResponse(HOME, status_code=_SEE_OTHER), minted)

    async def _options(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form)
        options = self.showing.begin(self.doors.origin(request), visitor)
        return Response(encode(options), media_type="application/json")

    async def _passkey(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "reason", "minutes", "ceremony", "credential")
        reason, minutes = reason_of(form), number("minutes", form.get("minutes", ""))
        show = partial(
            self.showing.shown,
            self.doors.origin(request),
            form.get("ceremony", ""),
            form.get("credential", ""),
            visitor,
        )
        try:
            await self.logins.passkey(show, source=source_of(request))
        except Problem as problem:  # recorded where it was raised
            return Response(
                encode(problem.document()), problem.status, media_type="application/problem+json"
            )
        minted = await self._begun(visitor, reason, minutes)
        answer = Response(encode({"next": HOME}), media_type="application/json")
        return self._in(request, answer, minted)

    async def _begun(self, visitor: Visitor, reason: str, minutes: int) -> Minted:
        glass = secrets.token_hex(16)
        _, minted = await self.breaking.begin(visitor.context, reason, minutes, glass, CONSOLE)
        return minted

    def _in(self, request: Request, response: Response, minted: Minted) -> Response:
        left = max(1, math.floor(minted.expires_at - self.clock.now()))
        cookie.give(response, self.doors.origin(request), minted.token, left)
        return response

    async def _end(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, "glass")
        try:
            ended = await self.breaking.end(visitor.context, form.get("glass", ""))
        except Problem as problem:
            return await self._shown(request, visitor, self.doors.record(request, problem), form)
        if ended.credential != visitor.context.principal.credential:
            return RedirectResponse(GLASS, status_code=_SEE_OTHER)
        answer = RedirectResponse("/login", status_code=_SEE_OTHER)
        cookie.take(answer, self.doors.origin(request))
        return answer

    async def _review(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Response:
        only(form, "glass", "reason", "judgement")
        try:
            said = asked(
                ReviewGlassRequest,
                {"reason": reason_of(form), "judgement": form.get("judgement", "")},
                "Say whether it was justified, and why.",
            )
            glass = form.get("glass", "")
            await self.breaking.close(visitor.context, glass, said.judgement, said.reason)
        except Problem as problem:
            return await self._shown(request, visitor, self.doors.record(request, problem), form)
        return RedirectResponse(GLASS, status_code=_SEE_OTHER)
